# The effects of each option. A run takes a second, so options that do not affect each other share one. The last two runs
# apply, for what is not known before.

mock_provider "google" {}

mock_provider "google-beta" {
  mock_resource "google_project_service_identity" {
    defaults = { member = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" }
  }
}

mock_provider "time" {}

variables {
  project       = "shop-production"
  database      = { location = "europe-west3" }
  image_version = "1.2.3"
  default_from  = "shop@example.com"
}

run "nam5_is_served_from_us_central1_with_the_images_secrets_and_indexes_of_others" {
  command = plan

  variables {
    database         = { location = "nam5" }
    image_repository = "europe-west1-docker.pkg.dev/shared/firepost"
    secrets          = { SENDGRID_API_KEY = { secret = "projects/shop-secrets/secrets/sendgrid", version = "7" } }
    unindexed_fields = []
  }

  # The services are in the region of nam5's events.
  assert {
    condition     = google_eventarc_trigger.documents.location == "nam5"
    error_message = "A trigger must be where the database is."
  }

  assert {
    condition     = google_cloud_run_v2_service.dispatcher.location == "us-central1" && google_eventarc_trigger.documents.destination[0].cloud_run_service[0].region == "us-central1"
    error_message = "A multi-region's events are handled in one region; the services belong there."
  }

  # An image is a repository and a version.
  assert {
    condition     = google_cloud_run_v2_service.sender["default"].template[0].containers[0].image == "europe-west1-docker.pkg.dev/shared/firepost/sender:1.2.3" && length(google_artifact_registry_repository.images) == 0
    error_message = "Images of a repository that exists must be taken from there, and none be created."
  }

  # A secret of another project is only read.
  assert {
    condition     = length(google_secret_manager_secret.created) == 0 && google_secret_manager_secret_iam_member.sender_reads["SENDGRID_API_KEY"].secret_id == "projects/shop-secrets/secrets/sendgrid"
    error_message = "A secret that exists must be referred to, not made."
  }

  # All indexes stay.
  assert {
    condition     = length(google_firestore_field.indexed) == 0 && length(google_firestore_field.unindexed) == 0
    error_message = "With unindexed_fields = [], another module manages the indexes."
  }
}

run "eur3_is_served_from_europe_west4_and_gets_a_database_as_an_organisations_policies_want_it" {
  command = plan

  variables {
    database         = { location = "eur3", create = true }
    secret_locations = ["europe-west3", "europe-west4"]
    message_regions  = ["europe-west3"]
    scheduler_region = "europe-west1"
    database_role_id = "firepost_database_2"
  }

  # The services are in the region of eur3's events.
  assert {
    condition     = google_eventarc_trigger.documents.location == "eur3" && google_cloud_run_v2_service.dispatcher.location == "europe-west4"
    error_message = "A trigger must be where the database is, and the services in the region that its events are handled in."
  }

  # A database is made and protected.
  assert {
    condition     = google_firestore_database.this[0].location_id == "eur3" && google_firestore_database.this[0].delete_protection_state == "DELETE_PROTECTION_ENABLED" && google_firestore_database.this[0].database_edition == "STANDARD"
    error_message = "A database that is made must be where it is wanted, protected, and of the edition that indexes are written for."
  }

  # An organisation's policies are followed.
  assert {
    condition     = [for each in google_secret_manager_secret.created["SMTP_CONNECTION_URI"].replication[0].user_managed[0].replicas : each.location] == ["europe-west3", "europe-west4"] && length(google_secret_manager_secret.created["SMTP_CONNECTION_URI"].replication[0].auto) == 0
    error_message = "Secrets must be stored where the policy allows."
  }

  assert {
    condition = alltrue([
      for topic in google_pubsub_topic.this :
      topic.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west3"])
    ])
    error_message = "Messages must be stored where the policy allows."
  }

  assert {
    condition     = google_cloud_scheduler_job.reconcile.region == "europe-west1" && google_project_iam_custom_role.database.role_id == "firepost_database_2"
    error_message = "The job's region and the role's id must be those given."
  }
}

run "many_large_instances_share_one_address_in_a_region_of_ones_own_that_a_database_outlives" {
  command = plan

  variables {
    database      = { location = "eur3", create = true, deletion_protection = false }
    region        = "europe-west1"
    sender        = { cpu = 4, memory = "2048Mi", smtp_max_connections = 20, max_instances = 500 }
    static_egress = {}
  }

  # A region of one's own wins.
  assert {
    condition     = google_cloud_run_v2_service.sender["default"].location == "europe-west1" && output.region == "europe-west1"
    error_message = "region must win over what the database suggests."
  }

  # A database outlives the rest.
  assert {
    condition     = google_firestore_database.this[0].deletion_policy == "ABANDON" && google_firestore_database.this[0].delete_protection_state == "DELETE_PROTECTION_DISABLED"
    error_message = "Whoever takes the services down must not delete the documents with them."
  }

  # Large instances have as much memory as they must.
  assert {
    condition     = google_cloud_run_v2_service.sender["default"].template[0].containers[0].resources[0].limits == tomap({ cpu = "4", memory = "2048Mi" })
    error_message = "What Cloud Run allows must not be refused."
  }

  # Many instances share one address.
  assert {
    condition     = google_compute_router_nat.egress[0].min_ports_per_vm == 64
    error_message = "An instance must have the 64 ports that it would have by default."
  }
}

run "another_database_and_collection_and_the_usual_load_on_the_mail_server" {
  command = plan

  variables {
    name            = "acme-mail"
    database        = { id = "tenants", location = "europe-west3" }
    mail_collection = "tenants/acme/mail"
    sender          = { max_instances = 3, smtp_max_connections = 5, smtp_rate_per_second = 2 }
  }

  # Another database and collection.
  assert {
    condition     = one([for each in google_eventarc_trigger.documents.matching_criteria : each.value if each.attribute == "document"]) == "tenants/acme/mail/{document}"
    error_message = "The trigger must watch the collection's own path."
  }

  assert {
    condition     = google_firestore_field.unindexed["message"].collection == "mail" && google_firestore_field.unindexed["message"].database == "tenants"
    error_message = "Indexes belong to the collection's id."
  }

  assert {
    condition     = google_project_iam_custom_role.database.role_id == "acme_mail_database" && google_pubsub_subscription.mail["default"].name == "acme-mail-mail-sender"
    error_message = "Nothing may be called as in another instance of the module."
  }

  # The usual load on the mail server is said.
  assert {
    condition     = output.mail_server_load == { connections = 15, mails_per_second = 2 }
    error_message = "The load is what all instances may do; they share the rate."
  }

  assert {
    condition     = google_cloud_run_v2_service.sender["default"].template[0].scaling[0].max_instance_count == 3 && local.sender_environment.SMTP_MAX_CONNECTIONS == "5" && local.sender_environment.SMTP_RATE_PER_SECOND == "2"
    error_message = "What the output says must be what the services are given."
  }
}

run "expiry_schedule_settings_transports_and_recipients_are_as_wanted_and_old_images_are_deleted" {
  command = plan

  variables {
    ttl               = { type = "day", value = 90 }
    reconcile_minutes = 10
    settings = {
      TEMPLATES_COLLECTION = "templates"
      STRANDED_AFTER       = "600"
      TRANSPORTS           = "news"
      NEWS_TRANSPORT       = "sendgrid"
      NEWS_FROM_DOMAINS    = "news.example.com"
    }
    secrets = {
      SMTP_CONNECTION_URI   = { secret = "firepost-smtp-connection-uri", create = true }
      NEWS_SENDGRID_API_KEY = { secret = "news-sendgrid", version = "3" }
    }
    recipients_allowed  = ["ada@example.com", "*@example.org", "*@*.example.org", "o'neil+test@bücher.example"]
    recipients_redirect = ["staging@example.com", "qa@example.com"]
    keep_images         = 20
  }

  # Documents expire if wanted.
  assert {
    condition     = google_firestore_field.expiry[0].field == "delivery.expireAt" && length(google_firestore_field.expiry[0].ttl_config) == 1
    error_message = "ttl needs Firestore's policy."
  }

  assert {
    condition     = local.sender_environment.TTL_EXPIRE_TYPE == "day" && local.dispatcher_environment.TTL_EXPIRE_VALUE == "90"
    error_message = "ttl must be the services' setting, too."
  }

  # The reconciler runs as often as wanted, and alerts know.
  assert {
    condition     = google_cloud_scheduler_job.reconcile.schedule == "*/10 * * * *" && output.resources.reconcile_minutes == 10
    error_message = "The job must run every ten minutes, and the alert about it allow for that."
  }

  assert {
    condition     = google_cloud_scheduler_job.reconcile.attempt_deadline == "660s" && google_cloud_run_v2_service.dispatcher.template[0].timeout == "660s"
    error_message = "A run that stays until the next one must have time to publish what is left."
  }

  # Other settings reach both services.
  assert {
    condition     = local.sender_environment.TEMPLATES_COLLECTION == "templates" && local.dispatcher_environment.STRANDED_AFTER == "600"
    error_message = "What is in settings must be in the services' environment."
  }

  # Further transports have settings and secrets of their own.
  assert {
    condition     = local.sender_environment.NEWS_TRANSPORT == "sendgrid" && local.secret_references["NEWS_SENDGRID_API_KEY"].version == "3"
    error_message = "A named transport's variables must reach the sender."
  }

  # Mail is kept from others if wanted.
  assert {
    condition     = local.sender_environment.RECIPIENTS_ALLOWED == "ada@example.com,*@example.org,*@*.example.org,o'neil+test@bücher.example" && local.sender_environment.RECIPIENTS_REDIRECT == "staging@example.com,qa@example.com"
    error_message = "The sender must know who may get mail."
  }

  # Old images are deleted if wanted.
  assert {
    condition     = { for each in google_artifact_registry_repository.images[0].cleanup_policies : each.id => each.action } == { untagged = "DELETE", newest = "KEEP", old = "DELETE" }
    error_message = "The newest images must be kept, and older ones deleted."
  }

  assert {
    condition     = google_cloud_run_v2_service.dispatcher.template[0].containers[0].image == "europe-west3-docker.pkg.dev/shop-production/firepost/dispatcher:1.2.3"
    error_message = "Images must come from the repository that is created."
  }
}

run "a_lane_has_a_subscription_and_a_sender_of_its_own_and_half_an_hour_is_the_longest_deadline" {
  command = plan

  variables {
    lanes = {
      bulk    = { templates = ["newsletter", "digest"], transports = ["marketing"], max_instances = 2, smtp_max_connections = 5 }
      reports = {}
    }
    reconcile_minutes = 30
  }

  # A lane has a subscription and a sender of its own.
  assert {
    condition = { for lane, each in google_pubsub_subscription.mail : lane => [each.name, each.filter] } == {
      bulk    = ["firepost-mail-sender-bulk", "attributes.lane=\"bulk\""]
      default = ["firepost-mail-sender", "NOT attributes.lane=\"bulk\" AND NOT attributes.lane=\"reports\""]
      reports = ["firepost-mail-sender-reports", "attributes.lane=\"reports\""]
    }
    error_message = "Each message must get to one lane: the default one, unless another has its name."
  }

  assert {
    condition     = alltrue([for each in [local.sender_environment, local.dispatcher_environment] : each.LANES == "bulk=template:digest template:newsletter transport:marketing,reports"])
    error_message = "Both services must know the lanes and their rules."
  }

  assert {
    condition = { for lane, each in google_cloud_run_v2_service.sender : lane => [each.name, tostring(each.template[0].scaling[0].min_instance_count), tostring(each.template[0].scaling[0].max_instance_count)] } == {
      bulk    = ["firepost-sender-bulk", "0", "2"]
      default = ["firepost-sender", "0", "4"]
      reports = ["firepost-sender-reports", "0", "1"]
    }
    error_message = "A lane's sender must scale to zero, and to what the lane may have."
  }

  assert {
    condition = { for lane in ["bulk", "default", "reports"] : lane => [
      for name in ["LANE", "SMTP_MAX_CONNECTIONS"] :
      join("", [for each in google_cloud_run_v2_service.sender[lane].template[0].containers[0].env : each.value if each.name == name])
      ] } == {
      bulk    = ["bulk", "5"]
      default = ["", tostring(var.sender.smtp_max_connections)]
      reports = ["reports", tostring(var.sender.smtp_max_connections)]
    }
    error_message = "A lane's sender must know its lane, and its limits where they differ."
  }

  assert {
    condition     = output.mail_server_load.connections == 4 * var.sender.smtp_max_connections + 2 * 5 + var.sender.smtp_max_connections && output.mail_server_load.mails_per_second == null
    error_message = "The load must be that of all lanes."
  }

  assert {
    condition     = output.resources.lanes == { for lane in ["bulk", "reports"] : lane => { sender = "firepost-sender-${lane}", subscription = "firepost-mail-sender-${lane}" } }
    error_message = "Monitoring must know the lanes."
  }

  # Half an hour is the longest deadline.
  assert {
    condition     = google_cloud_scheduler_job.reconcile.attempt_deadline == "1800s"
    error_message = "Cloud Scheduler allows no longer deadline."
  }
}

run "a_pool_can_scale_by_cpu_has_a_collector_too_and_leaves_a_lane_to_a_pool_of_its_own" {
  command = plan

  variables {
    subscription_type = "pull"
    sender            = { pull_max_instances = 4 }
    traces            = {}
    lanes             = { bulk = { pull_instances = 2 } }
  }

  # A pool can scale by CPU.
  assert {
    condition = (
      google_cloud_run_v2_worker_pool.sender["default"].scaling[0].scaling_mode == "AUTOMATIC" &&
      google_cloud_run_v2_worker_pool.sender["default"].scaling[0].min_instance_count == 1 &&
      google_cloud_run_v2_worker_pool.sender["default"].scaling[0].max_instance_count == 4 &&
      google_cloud_run_v2_worker_pool.sender["default"].scaling[0].manual_instance_count == null
    )
    error_message = "With pull_max_instances, Cloud Run chooses between the two numbers."
  }

  # A pool has a collector, too.
  assert {
    condition     = [for each in google_cloud_run_v2_worker_pool.sender["default"].template[0].containers : each.name] == ["sender", "collector"]
    error_message = "A pulling sender records spans, too."
  }

  # A lane is pulled if all mail is.
  assert {
    condition = (
      google_cloud_run_v2_worker_pool.sender["bulk"].scaling[0].manual_instance_count == 2 &&
      one([for each in google_cloud_run_v2_worker_pool.sender["bulk"].template[0].containers[0].env : each.value if each.name == "MAIL_SUBSCRIPTION"]) == google_pubsub_subscription.mail["bulk"].name &&
      google_pubsub_subscription_iam_member.sender_pulls["bulk"].subscription == google_pubsub_subscription.mail["bulk"].name
    )
    error_message = "The lane's pool must pull from the lane's subscription, and be allowed to."
  }
}

run "one_address_a_key_and_traces_and_events_attachments_and_indexes_as_wanted" {
  variables {
    static_egress      = {}
    kms_key            = "projects/keys/locations/europe-west3/keyRings/mail/cryptoKeys/firepost"
    database           = { location = "europe-west3", create = true }
    traces             = { all = true }
    lifecycle_events   = true
    eventarc_channel   = "projects/my-channels/locations/us-central1/channels/firebase"
    attachment_buckets = ["shop-invoices", "shop-brochures"]
    unindexed_fields   = ["delivery.info", "delivery.info.messageId"]
  }

  # Static egress sends all through one address.
  assert {
    condition     = google_cloud_run_v2_service.sender["default"].template[0].vpc_access[0].egress == "ALL_TRAFFIC"
    error_message = "All of the sender's traffic must go through the VPC, or mail leaves by other addresses."
  }

  assert {
    condition     = google_compute_router_nat.egress[0].nat_ip_allocate_option == "MANUAL_ONLY" && length(google_compute_router_nat.egress[0].nat_ips) == 1
    error_message = "The NAT must use the reserved address, and no other."
  }

  assert {
    condition = alltrue([
      for each in google_cloud_run_v2_service.sender["default"].template[0].vpc_access[0].network_interfaces :
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

  # A key encrypts all that is stored.
  assert {
    condition = toset([
      one(distinct([for topic in google_pubsub_topic.this : topic.kms_key_name])),
      google_artifact_registry_repository.images[0].kms_key_name,
      google_cloud_run_v2_service.dispatcher.template[0].encryption_key,
      google_cloud_run_v2_service.sender["default"].template[0].encryption_key,
      google_firestore_database.this[0].cmek_config[0].kms_key_name,
      google_secret_manager_secret.created["SMTP_CONNECTION_URI"].replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name,
    ]) == toset([var.kms_key])
    error_message = "Everything that can be encrypted with the key must be."
  }

  assert {
    condition     = toset(keys(google_kms_crypto_key_iam_member.encrypts)) == toset(["artifactregistry", "firestore", "pubsub", "run", "secretmanager"]) && length(time_sleep.key) == 1
    error_message = "Google's own accounts must be allowed to use the key, before anything is encrypted."
  }

  # Traces go through a collector beside each service.
  assert {
    condition = alltrue(flatten([
      for service in concat([google_cloud_run_v2_service.dispatcher], values(google_cloud_run_v2_service.sender)) : [
        [for each in service.template[0].containers : each.name][1] == "collector",
        service.template[0].containers[0].depends_on == tolist(["collector"]),
        service.template[0].containers[0].ports[0].container_port == 8080,
        length(service.template[0].containers[1].ports) == 0,
        !service.template[0].containers[0].resources[0].cpu_idle,
      ]
    ]))
    error_message = "A collector must start before each service, which alone is called, and have CPU between requests."
  }

  assert {
    condition     = yamldecode(local.collector_config).receivers.otlp.protocols.grpc.endpoint == trimprefix(local.sender_environment.OTEL_EXPORTER_OTLP_ENDPOINT, "http://") && local.dispatcher_environment.TRACES == "otlp" && local.sender_environment.OTEL_TRACES_SAMPLER == "always_on"
    error_message = "Services must record spans, and send them where the collector listens."
  }

  assert {
    condition     = { for key, each in google_project_iam_member.writes_traces : key => each.role } == { dispatcher = "roles/cloudtrace.agent", sender = "roles/cloudtrace.agent" } && contains(keys(google_project_service.this), "cloudtrace.googleapis.com")
    error_message = "The collector writes to Cloud Trace as the service."
  }

  # Lifecycle events have a topic that the dispatcher may publish to.
  assert {
    condition     = local.dispatcher_environment.EVENTS_TOPIC == "firepost-events" && google_pubsub_topic_iam_member.dispatcher_publishes["events"].topic == "firepost-events"
    error_message = "The dispatcher must know the topic, and be allowed to publish."
  }

  # Trigger Email's events have the channel that they had.
  assert {
    condition     = local.dispatcher_environment.EVENTARC_CHANNEL == "projects/my-channels/locations/us-central1/channels/firebase"
    error_message = "The dispatcher must know the channel."
  }

  assert {
    condition     = google_project_iam_member.publishes_events[0].role == "roles/eventarc.publisher" && google_project_iam_member.publishes_events[0].project == "my-channels"
    error_message = "The dispatcher must be allowed to publish in the channel's project."
  }

  # Attachments come from buckets that the sender may read.
  assert {
    condition     = local.sender_environment.ATTACHMENT_BUCKETS == "shop-brochures,shop-invoices" && google_storage_bucket_iam_member.sender_attaches["shop-invoices"].role == "roles/storage.objectViewer"
    error_message = "The sender must know the buckets, and be allowed to read them and no more."
  }

  # Fields of a map that keeps its indexes need none of their own.
  assert {
    condition = toset(keys(google_firestore_field.indexed)) == toset([
      "delivery.state", "delivery.nextAttemptTime", "delivery.errorCode",
      "delivery.info.accepted", "delivery.info.rejected", "delivery.info.pending", "delivery.info.sendgridQueueId",
    ])
    error_message = "Only fields within an unindexed map need an index of their own, and none that is itself unindexed."
  }
}

run "pull_makes_a_worker_pool_and_no_push_and_shadow_mode_leaves_the_database_as_it_is" {
  variables {
    subscription_type = "pull"
    sender            = { pull_instances = 2 }
    shadow            = true
    ttl               = { type = "month", value = 3 }
  }

  # Pull makes a worker pool and no push.
  assert {
    condition     = length(google_cloud_run_v2_service.sender) == 0 && length(google_pubsub_subscription.mail["default"].push_config) == 0
    error_message = "With subscription_type = \"pull\" nothing may be pushed."
  }

  assert {
    condition     = google_cloud_run_v2_worker_pool.sender["default"].scaling[0].manual_instance_count == 2 && google_cloud_run_v2_worker_pool.sender["default"].scaling[0].scaling_mode == null
    error_message = "The pool must have as many instances as sender.pull_instances says, without the attribute that the API drops."
  }

  assert {
    condition     = google_pubsub_subscription_iam_member.sender_pulls["default"].subscription == google_pubsub_subscription.mail["default"].name && local.pull_environment.MAIL_SUBSCRIPTION == google_pubsub_subscription.mail["default"].name
    error_message = "The sender must know its subscription, and be allowed to pull from it."
  }

  assert {
    condition     = alltrue([for each in google_cloud_run_v2_worker_pool.sender["default"].template[0].containers[0].env : each.name != "OIDC_AUDIENCE"])
    error_message = "A sender that nobody calls needs no audience."
  }

  assert {
    condition     = output.mail_server_load.connections == 80 && !google_cloud_run_v2_worker_pool.sender["default"].deletion_protection
    error_message = "The load must be that of the pool, and a pool that failed to start be replaceable."
  }

  # In shadow mode, the database stays as it is.
  assert {
    condition     = local.dispatcher_environment.SHADOW == "true" && local.sender_environment.SHADOW == "true"
    error_message = "Both services must be in shadow mode, or neither."
  }

  assert {
    condition     = !anytrue([for each in google_project_iam_custom_role.database.permissions : contains(["create", "update", "delete"], split(".", each)[2])])
    error_message = "Services may only read."
  }

  assert {
    condition     = length(google_firestore_field.indexed) == 0 && length(google_firestore_field.unindexed) == 0 && length(google_firestore_field.expiry) == 0
    error_message = "Indexes and expiry are the other system's."
  }
}
