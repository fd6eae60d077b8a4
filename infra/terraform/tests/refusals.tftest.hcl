# Inputs that are refused before anything is created.

mock_provider "google" {}

mock_provider "google-beta" {}

variables {
  project          = "shop-production"
  database         = { location = "europe-west3" }
  dispatcher_image = "europe-west3-docker.pkg.dev/shop-production/firepost/dispatcher:1a2b3c4"
  sender_image     = "europe-west3-docker.pkg.dev/shop-production/firepost/sender:1a2b3c4"
  default_from     = "shop@example.com"
}

run "an_acknowledgement_deadline_within_the_lease" {
  command         = plan
  expect_failures = [var.ack_deadline_seconds]

  variables {
    lease_seconds        = 90
    ack_deadline_seconds = 90
  }
}

run "an_attempt_as_long_as_the_lease" {
  command         = plan
  expect_failures = [var.attempt_seconds]

  variables {
    attempt_seconds = 60
  }
}

run "an_acknowledgement_deadline_beyond_pubsub" {
  command         = plan
  expect_failures = [var.ack_deadline_seconds]

  variables {
    ack_deadline_seconds = 601
  }
}

run "at_least_once_with_a_single_attempt" {
  command         = plan
  expect_failures = [var.lease_expiry_policy]

  variables {
    lease_expiry_policy = "retry"
  }
}

run "a_password_among_the_settings" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { SMTP_PASSWORD = "hunter2" }
  }
}

run "a_private_key_among_the_settings" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { TLS_OPTIONS = "{\"key\": \"-----BEGIN PRIVATE KEY-----\"}" }
  }
}

run "a_setting_that_nobody_knows" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { STRANDED_AFTR = "600" }
  }
}

run "a_setting_that_has_a_variable" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { LEASE_SECONDS = "600" }
  }
}

run "a_secret_that_is_no_setting" {
  command         = plan
  expect_failures = [var.secrets]

  variables {
    secrets = { SMTP_PASWORD = { secret = "smtp-password" } }
  }
}

run "a_secret_version_in_words" {
  command         = plan
  expect_failures = [var.secrets]

  variables {
    secrets = { SMTP_PASSWORD = { secret = "smtp-password", version = "newest" } }
  }
}

run "an_image_called_latest" {
  command         = plan
  expect_failures = [var.dispatcher_image, var.sender_image]

  variables {
    dispatcher_image = "example.com/dispatcher:latest"
    sender_image     = "example.com/sender"
  }
}

run "a_multi_region_for_services" {
  command         = plan
  expect_failures = [var.region]

  variables {
    region = "eur3"
  }
}

run "a_multi_region_that_does_not_exist" {
  command         = plan
  expect_failures = [var.database]

  variables {
    database = { location = "europe" }
  }
}

run "a_wildcard_for_a_collection" {
  command         = plan
  expect_failures = [var.mail_collection]

  variables {
    mail_collection = "tenants/{tenant}/mail"
  }
}

run "a_document_for_a_collection" {
  command         = plan
  expect_failures = [var.mail_collection]

  variables {
    mail_collection = "tenants/acme"
  }
}

run "a_name_too_long_for_service_accounts" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "the-mail-of-our-whole-shop"
  }
}

run "an_objective_between_two_buckets" {
  command         = plan
  expect_failures = [var.slo]

  variables {
    slo = { seconds = 45 }
  }
}

run "a_field_that_is_queried_without_an_index" {
  command         = plan
  expect_failures = [var.unindexed_fields]

  variables {
    unindexed_fields = ["delivery.state"]
  }
}

run "a_subnet_too_small_for_cloud_run" {
  command         = plan
  expect_failures = [var.static_egress]

  variables {
    static_egress = { cidr = "10.8.0.0/28" }
  }
}

run "fewer_instances_at_most_than_at_least" {
  command         = plan
  expect_failures = [var.sender]

  variables {
    sender = { min_instances = 5, max_instances = 4 }
  }
}

run "fewer_connections_than_processes" {
  command         = plan
  expect_failures = [var.sender]

  variables {
    sender = { cpu = 2, smtp_max_connections = 1 }
  }
}

run "half_a_cpu" {
  command         = plan
  expect_failures = [var.dispatcher]

  variables {
    dispatcher = { cpu = 0.5 }
  }
}

run "more_cpus_than_cloud_run_gives_to_so_little_memory" {
  command         = plan
  expect_failures = [var.dispatcher, var.sender]

  variables {
    dispatcher = { cpu = 4 }
    sender     = { cpu = 8, memory = "2Gi" }
  }
}

run "memory_without_a_unit" {
  command         = plan
  expect_failures = [var.sender]

  variables {
    sender = { memory = "512" }
  }
}

run "one_field_managed_twice" {
  command         = plan
  expect_failures = [var.unindexed_fields]

  variables {
    ttl              = { type = "day", value = 90 }
    unindexed_fields = ["message", "delivery.expireAt"]
  }
}

run "opentelemetrys_keys_among_the_settings" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { OTEL_EXPORTER_OTLP_HEADERS = "authorization=Bearer abc" }
  }
}

run "a_transports_password_among_the_settings" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { TRANSPORTS = "news", NEWS_SMTP_PASSWORD = "hunter2" }
  }
}
