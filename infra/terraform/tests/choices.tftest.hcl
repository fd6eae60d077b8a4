# The effects of each option.

mock_provider "google" {}

mock_provider "google-beta" {
  mock_resource "google_project_service_identity" {
    defaults = { member = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" }
  }
}

variables {
  project          = "shop-production"
  database         = { location = "europe-west3" }
  dispatcher_image = "europe-west3-docker.pkg.dev/shop-production/firepost/dispatcher:1a2b3c4"
  sender_image     = "europe-west3-docker.pkg.dev/shop-production/firepost/sender:1a2b3c4"
  default_from     = "shop@example.com"
}

run "pull_makes_a_worker_pool_and_no_push" {
  variables {
    subscription_type = "pull"
    sender            = { max_instances = 2 }
  }

  assert {
    condition     = length(google_cloud_run_v2_service.sender) == 0 && length(google_pubsub_subscription.mail.push_config) == 0
    error_message = "With subscription_type = \"pull\" nothing may be pushed."
  }

  assert {
    condition     = google_cloud_run_v2_worker_pool.sender[0].scaling[0].manual_instance_count == 2
    error_message = "The pool must have as many instances as sender.max_instances says."
  }

  assert {
    condition     = google_pubsub_subscription_iam_member.sender_pulls[0].subscription == google_pubsub_subscription.mail.name && local.pull_environment.MAIL_SUBSCRIPTION == google_pubsub_subscription.mail.name
    error_message = "The sender must know its subscription, and be allowed to pull from it."
  }

  assert {
    condition     = alltrue([for each in google_cloud_run_v2_worker_pool.sender[0].template[0].containers[0].env : each.name != "OIDC_AUDIENCE"])
    error_message = "A sender that nobody calls needs no audience."
  }

  assert {
    condition     = strcontains(google_logging_metric.this["attempts"].filter, "resource.labels.worker_pool_name=\"firepost-sender\"")
    error_message = "The sender's metrics must be counted where its entries come from."
  }
}

run "charts_of_a_worker_pool_show_what_is_measured_there" {
  variables {
    subscription_type = "pull"
  }

  assert {
    condition = alltrue(flatten([
      for widget in jsondecode(google_monitoring_dashboard.this.dashboard_json).gridLayout.widgets : [
        for line in widget.xyChart.dataSets : !strcontains(line.timeSeriesQuery.timeSeriesFilter.filter, "cloud_run_worker_pool")
      ] if contains(["Instances"], widget.title)
    ]))
    error_message = "Cloud Run measures no number of instances for worker pools."
  }
}

run "push_makes_no_worker_pool" {
  assert {
    condition     = length(google_cloud_run_v2_worker_pool.sender) == 0 && length(google_pubsub_subscription_iam_member.sender_pulls) == 0
    error_message = "With subscription_type = \"push\" there is nothing that pulls."
  }
}

run "nam5_is_served_from_us_central1" {
  variables {
    database = { location = "nam5" }
  }

  assert {
    condition     = google_eventarc_trigger.documents.location == "nam5"
    error_message = "A trigger must be where the database is."
  }

  assert {
    condition     = google_cloud_run_v2_service.dispatcher.location == "us-central1" && google_eventarc_trigger.documents.destination[0].cloud_run_service[0].region == "us-central1"
    error_message = "A multi-region's events are handled in one region; the services belong there."
  }
}

run "eur3_is_served_from_europe_west4" {
  variables {
    database = { location = "eur3" }
  }

  assert {
    condition     = google_eventarc_trigger.documents.location == "eur3" && google_cloud_run_v2_service.dispatcher.location == "europe-west4"
    error_message = "A trigger must be where the database is, and the services in the region that its events are handled in."
  }
}

run "a_region_of_ones_own" {
  variables {
    database = { location = "eur3" }
    region   = "europe-west1"
  }

  assert {
    condition     = google_cloud_run_v2_service.sender[0].location == "europe-west1" && output.region == "europe-west1"
    error_message = "region must win over what the database suggests."
  }
}

run "another_database_and_collection" {
  variables {
    name            = "acme-mail"
    database        = { id = "tenants", location = "europe-west3" }
    mail_collection = "tenants/acme/mail"
  }

  assert {
    condition     = one([for each in google_eventarc_trigger.documents.matching_criteria : each.value if each.attribute == "document"]) == "tenants/acme/mail/{document}"
    error_message = "The trigger must watch the collection's own path."
  }

  assert {
    condition     = google_firestore_field.unindexed["message"].collection == "mail" && google_firestore_field.unindexed["message"].database == "tenants"
    error_message = "Indexes belong to the collection's id."
  }

  assert {
    condition     = google_project_iam_custom_role.database.role_id == "acme_mail_database" && startswith(google_logging_metric.this["attempts"].name, "acme-mail/")
    error_message = "Nothing may be called as in another instance of the module."
  }
}

run "a_database_is_made_and_protected" {
  variables {
    database = { location = "eur3", create = true }
  }

  assert {
    condition     = google_firestore_database.this[0].location_id == "eur3" && google_firestore_database.this[0].delete_protection_state == "DELETE_PROTECTION_ENABLED"
    error_message = "A database that is made must be where it is wanted, and protected."
  }
}

run "a_database_outlives_the_rest" {
  variables {
    database            = { location = "eur3", create = true }
    deletion_protection = false
  }

  assert {
    condition     = google_firestore_database.this[0].deletion_policy == "ABANDON" && google_cloud_run_v2_service.dispatcher.deletion_protection == false
    error_message = "Whoever takes the services down must not delete the documents with them."
  }
}

run "labels_are_on_what_is_watched_too" {
  variables {
    labels = { team = "shop" }
  }

  assert {
    condition = alltrue([
      for labels in concat(
        [google_monitoring_custom_service.mail.user_labels, google_monitoring_slo.time_to_accept.user_labels],
        [for each in google_monitoring_alert_policy.this : each.user_labels],
        [google_cloud_run_v2_service.dispatcher.labels, google_pubsub_subscription.mail.labels],
      ) : labels == tomap({ app = "firepost", team = "shop" })
    ])
    error_message = "All that can have labels must have them."
  }
}

run "without_static_egress_there_is_no_network" {
  assert {
    condition     = length(google_compute_network.egress) + length(google_compute_address.egress) == 0 && length(google_cloud_run_v2_service.sender[0].template[0].vpc_access) == 0
    error_message = "A network may only be made where it is wanted."
  }
}

run "static_egress_sends_all_through_one_address" {
  variables {
    static_egress = {}
  }

  assert {
    condition     = google_cloud_run_v2_service.sender[0].template[0].vpc_access[0].egress == "ALL_TRAFFIC"
    error_message = "All of the sender's traffic must go through the VPC, or mail leaves by other addresses."
  }

  assert {
    condition     = google_compute_router_nat.egress[0].nat_ip_allocate_option == "MANUAL_ONLY" && length(google_compute_router_nat.egress[0].nat_ips) == 1
    error_message = "The NAT must use the reserved address, and no other."
  }

  assert {
    condition = alltrue([
      for each in google_cloud_run_v2_service.sender[0].template[0].vpc_access[0].network_interfaces :
      each.network == google_compute_network.egress[0].id && each.subnetwork == google_compute_subnetwork.egress[0].id
    ])
    error_message = "The sender must be in the network that has the NAT, named as Cloud Run names networks."
  }

  assert {
    condition     = google_compute_router_nat.egress[0].min_ports_per_vm == 4032
    error_message = "Four instances must share the address's ports, with as much again for those of the revision before, and a reserve."
  }

  assert {
    condition     = contains(keys(google_project_service.this), "compute.googleapis.com")
    error_message = "A network needs its API."
  }
}

run "large_instances_have_as_much_memory_as_they_must" {
  variables {
    sender = { cpu = 4, memory = "2048Mi", smtp_max_connections = 20 }
  }

  assert {
    condition     = google_cloud_run_v2_service.sender[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "4", memory = "2048Mi" })
    error_message = "What Cloud Run allows must not be refused."
  }
}

run "many_instances_share_one_address" {
  variables {
    static_egress = {}
    sender        = { max_instances = 500 }
  }

  assert {
    condition     = google_compute_router_nat.egress[0].min_ports_per_vm == 64
    error_message = "An instance must have the 64 ports that it would have by default."
  }
}

run "documents_expire_if_wanted" {
  variables {
    ttl = { type = "day", value = 90 }
  }

  assert {
    condition     = google_firestore_field.expiry[0].field == "delivery.expireAt" && length(google_firestore_field.expiry[0].ttl_config) == 1
    error_message = "ttl needs Firestore's policy."
  }

  assert {
    condition     = local.sender_environment.TTL_EXPIRE_TYPE == "day" && local.dispatcher_environment.TTL_EXPIRE_VALUE == "90"
    error_message = "ttl must be the services' setting, too."
  }
}

run "lifecycle_events_have_a_topic_that_the_dispatcher_may_publish_to" {
  variables {
    lifecycle_events = true
  }

  assert {
    condition     = local.dispatcher_environment.EVENTS_TOPIC == "firepost-events" && google_pubsub_topic_iam_member.dispatcher_publishes["events"].topic == "firepost-events"
    error_message = "The dispatcher must know the topic, and be allowed to publish."
  }
}

run "other_settings_reach_both_services" {
  variables {
    settings = { TEMPLATES_COLLECTION = "templates", STRANDED_AFTER = "600" }
  }

  assert {
    condition     = local.sender_environment.TEMPLATES_COLLECTION == "templates" && local.dispatcher_environment.STRANDED_AFTER == "600"
    error_message = "What is in settings must be in the services' environment."
  }
}

run "attachments_come_from_buckets_that_the_sender_may_read" {
  variables {
    attachment_buckets = ["shop-invoices", "shop-brochures"]
  }

  assert {
    condition     = local.sender_environment.ATTACHMENT_BUCKETS == "shop-brochures,shop-invoices" && google_storage_bucket_iam_member.sender_attaches["shop-invoices"].role == "roles/storage.objectViewer"
    error_message = "The sender must know the buckets, and be allowed to read them and no more."
  }
}

run "a_secret_of_another_project_is_only_read" {
  variables {
    secrets = { SENDGRID_API_KEY = { secret = "projects/shop-secrets/secrets/sendgrid", version = "7" } }
  }

  assert {
    condition     = length(google_secret_manager_secret.created) == 0 && google_secret_manager_secret_iam_member.sender_reads["SENDGRID_API_KEY"].secret_id == "projects/shop-secrets/secrets/sendgrid"
    error_message = "A secret that exists must be referred to, not made."
  }
}

run "further_transports_have_settings_and_secrets_of_their_own" {
  variables {
    settings = { TRANSPORTS = "news", NEWS_TRANSPORT = "sendgrid", NEWS_FROM_DOMAINS = "news.example.com" }
    secrets = {
      SMTP_CONNECTION_URI   = { secret = "firepost-smtp-connection-uri", create = true }
      NEWS_SENDGRID_API_KEY = { secret = "news-sendgrid", version = "3" }
    }
  }

  assert {
    condition     = local.sender_environment.NEWS_TRANSPORT == "sendgrid" && local.secret_references["NEWS_SENDGRID_API_KEY"].version == "3"
    error_message = "A named transport's variables must reach the sender."
  }
}

run "fields_of_a_map_that_keeps_its_indexes_need_none_of_their_own" {
  variables {
    unindexed_fields = ["delivery.info", "delivery.info.messageId"]
  }

  assert {
    condition = toset(keys(google_firestore_field.indexed)) == toset([
      "delivery.state", "delivery.nextAttemptTime", "delivery.errorCode",
      "delivery.info.accepted", "delivery.info.rejected", "delivery.info.pending", "delivery.info.sendgridQueueId",
    ])
    error_message = "Only fields within an unindexed map need an index of their own, and none that is itself unindexed."
  }
}

run "all_indexes_stay" {
  variables {
    unindexed_fields = []
  }

  assert {
    condition     = length(google_firestore_field.indexed) == 0 && length(google_firestore_field.unindexed) == 0
    error_message = "With unindexed_fields = [], another module manages the indexes."
  }
}
