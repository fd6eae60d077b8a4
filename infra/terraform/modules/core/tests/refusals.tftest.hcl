# Inputs that are refused before anything is created. Each run gives several wrong ones, because a run takes a second;
# Terraform names the variable that was expected to fail and did not. `settings` is not checked where `secrets` are wrong, so
# the two stay apart.

mock_provider "google" {}

mock_provider "google-beta" {}

mock_provider "time" {}

variables {
  project       = "shop-production"
  database      = { location = "europe-west3" }
  image_version = "1.2.3"
  default_from  = "shop@example.com"
}

run "times_that_do_not_nest_and_a_password" {
  command         = plan
  expect_failures = [var.ack_deadline_seconds, var.attempt_seconds, var.settings, var.sender, var.lanes]

  variables {
    lease_seconds        = 90
    ack_deadline_seconds = 90
    attempt_seconds      = 90
    settings             = { SMTP_PASSWORD = "hunter2" }
    sender               = { min_instances = 5, max_instances = 4 }
    lanes                = { default = {} }
  }
}

run "times_beyond_pubsub_and_a_private_key" {
  command         = plan
  expect_failures = [var.ack_deadline_seconds, var.max_backoff_seconds, var.settings, var.sender, var.lanes]

  variables {
    ack_deadline_seconds = 601
    max_backoff_seconds  = 601
    settings             = { TLS_OPTIONS = "{\"key\": \"-----BEGIN PRIVATE KEY-----\"}" }
    sender               = { memory = "512" } # without a unit
    lanes                = { bulk = { templates = ["news"] }, slow = { templates = ["news"] } }
  }
}

run "promises_that_need_more_attempts_and_a_misspelt_setting" {
  command         = plan
  expect_failures = [var.lease_expiry_policy, var.settings, var.sender, var.dispatcher]

  variables {
    lease_expiry_policy = "retry" # with a single attempt
    settings            = { STRANDED_AFTR = "600" }
    sender              = { cpu = 2, smtp_max_connections = 1 } # fewer connections than processes
    dispatcher          = { cpu = 0.5 }
  }
}

run "multi_regions_for_what_is_in_one_region_and_a_setting_that_has_a_variable" {
  command         = plan
  expect_failures = [var.region, var.scheduler_region, var.secret_locations, var.message_regions, var.settings, var.dispatcher, var.sender]

  variables {
    region           = "eur3"
    scheduler_region = "eur3"
    secret_locations = ["europe"]
    message_regions  = ["eur3"]
    settings         = { LEASE_SECONDS = "600" }
    dispatcher       = { cpu = 4 } # wants more memory
    sender           = { cpu = 8, memory = "2Gi" }
  }
}

run "names_that_google_refuses_and_opentelemetrys_keys" {
  command         = plan
  expect_failures = [var.name, var.database, var.mail_collection, var.unindexed_fields, var.settings, var.sender]

  variables {
    name             = "the-mail-of-our-whole-shop" # too long for service accounts
    database         = { location = "europe" }      # no such multi-region
    mail_collection  = "tenants/{tenant}/mail"
    unindexed_fields = ["delivery.state"] # is queried
    settings         = { OTEL_EXPORTER_OTLP_HEADERS = "authorization=Bearer abc" }
    sender           = { pull_instances = 4, pull_max_instances = 2 }
  }
}

run "images_without_a_version_or_a_history_and_a_transports_password" {
  command         = plan
  expect_failures = [var.image_version, var.image_repository, var.keep_images, var.mail_collection, var.unindexed_fields, var.settings, var.sender, var.reconcile_minutes]

  variables {
    image_version     = "latest"
    image_repository  = "example.com/firepost/sender:1.2.3"
    keep_images       = 0
    mail_collection   = "tenants/acme" # a document
    ttl               = { type = "day", value = 90 }
    unindexed_fields  = ["message", "delivery.expireAt"] # ttl manages that one
    settings          = { TRANSPORTS = "news", NEWS_SMTP_PASSWORD = "hunter2" }
    subscription_type = "pull"
    sender            = { min_instances = 1 }
    reconcile_minutes = 7 # no divisor of an hour
  }
}

run "a_secret_that_is_no_setting_and_a_key_of_another_region" {
  command         = plan
  expect_failures = [var.secrets, var.kms_key, var.static_egress]

  variables {
    secrets       = { SMTP_PASWORD = { secret = "smtp-password" } }
    kms_key       = "projects/keys/locations/us-central1/keyRings/mail/cryptoKeys/firepost"
    static_egress = { cidr = "10.8.0.0/28" } # too small for Cloud Run
  }
}

run "recipients_that_nobody_can_be" {
  command         = plan
  expect_failures = [var.recipients_allowed, var.recipients_redirect, var.settings]

  variables {
    recipients_allowed  = [] # null lets everybody get mail
    recipients_redirect = ["*@example.com"]
    settings            = { RECIPIENTS_ALLOWED = "ada@example.com" } # has a variable
  }
}

run "a_domain_without_a_pattern_and_a_secret_version_in_words" {
  command         = plan
  expect_failures = [var.recipients_allowed, var.recipients_redirect, var.secrets]

  variables {
    recipients_allowed  = ["ada@example.com", "example.com"]
    recipients_redirect = []
    secrets             = { SMTP_PASSWORD = { secret = "smtp-password", version = "newest" } }
  }
}
