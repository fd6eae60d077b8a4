# A deployment with as few variables as possible.

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
  default_from     = "The Shop <shop@example.com>"
}

override_resource {
  target = google_cloud_run_v2_service.dispatcher
  values = { uri = "https://firepost-dispatcher-x1y2z3-ey.a.run.app" }
}

override_resource {
  target = google_cloud_run_v2_service.sender
  values = { uri = "https://firepost-sender-x1y2z3-ey.a.run.app" }
}

override_resource {
  target = google_service_account.dispatcher
  values = {
    email  = "firepost-dispatcher@shop-production.iam.gserviceaccount.com"
    member = "serviceAccount:firepost-dispatcher@shop-production.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.sender
  values = {
    email  = "firepost-sender@shop-production.iam.gserviceaccount.com"
    member = "serviceAccount:firepost-sender@shop-production.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.events
  values = {
    email  = "firepost-events@shop-production.iam.gserviceaccount.com"
    member = "serviceAccount:firepost-events@shop-production.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.push
  values = {
    email  = "firepost-push@shop-production.iam.gserviceaccount.com"
    member = "serviceAccount:firepost-push@shop-production.iam.gserviceaccount.com"
  }
}

override_resource {
  target = google_service_account.scheduler
  values = {
    email  = "firepost-scheduler@shop-production.iam.gserviceaccount.com"
    member = "serviceAccount:firepost-scheduler@shop-production.iam.gserviceaccount.com"
  }
}

run "push_shows_a_token_that_the_sender_accepts" {
  assert {
    condition     = google_pubsub_subscription.mail.push_config[0].oidc_token[0].audience == google_cloud_run_v2_service.sender[0].uri
    error_message = "The token's audience must be the sender's address."
  }

  assert {
    condition     = startswith(google_cloud_run_v2_service.sender[0].uri, split("*", local.audience_pattern.sender)[0]) && endswith(google_cloud_run_v2_service.sender[0].uri, split("*", local.audience_pattern.sender)[1])
    error_message = "The sender's address must match the audience that it accepts."
  }

  assert {
    condition     = google_pubsub_subscription.mail.push_config[0].oidc_token[0].service_account_email == local.push_environment.OIDC_SERVICE_ACCOUNTS
    error_message = "The token's account must be the one that the sender accepts."
  }

  assert {
    condition     = google_cloud_run_v2_service_iam_member.invokes_sender[0].member == google_service_account.push.member
    error_message = "Pub/Sub's caller must be allowed to invoke the sender."
  }
}

run "the_dispatcher_accepts_its_three_callers_and_no_others" {
  assert {
    condition = toset(split(",", local.dispatcher_environment.OIDC_SERVICE_ACCOUNTS)) == toset([
      google_eventarc_trigger.documents.service_account,
      google_pubsub_subscription.dead_letters_push.push_config[0].oidc_token[0].service_account_email,
      google_cloud_scheduler_job.reconcile.http_target[0].oidc_token[0].service_account_email,
    ])
    error_message = "The accounts that the dispatcher accepts must be those that call it."
  }

  assert {
    condition = toset([for each in google_cloud_run_v2_service_iam_member.invokes_dispatcher : each.member]) == toset([
      "serviceAccount:firepost-events@shop-production.iam.gserviceaccount.com",
      "serviceAccount:firepost-push@shop-production.iam.gserviceaccount.com",
      "serviceAccount:firepost-scheduler@shop-production.iam.gserviceaccount.com",
    ])
    error_message = "Eventarc, Pub/Sub and Cloud Scheduler must be allowed to invoke the dispatcher, and nobody else."
  }

  assert {
    condition = alltrue([
      google_pubsub_subscription.dead_letters_push.push_config[0].oidc_token[0].audience == google_cloud_run_v2_service.dispatcher.uri,
      google_cloud_scheduler_job.reconcile.http_target[0].oidc_token[0].audience == google_cloud_run_v2_service.dispatcher.uri,
    ])
    error_message = "The audience of calls to the dispatcher must be its address, paths left out."
  }
}

run "nobody_has_a_broad_role" {
  assert {
    condition = length(setsubtract(
      toset(concat(
        [for each in google_project_iam_member.uses_database : each.role],
        [google_project_iam_member.receives_events.role],
      )),
      [google_project_iam_custom_role.database.id, "roles/eventarc.eventReceiver"],
    )) == 0
    error_message = "On the project, only our own role and Eventarc's may be granted."
  }

  assert {
    condition     = alltrue([for permission in google_project_iam_custom_role.database.permissions : !can(regex("delete|export|import|indexes|setIamPolicy", permission))])
    error_message = "The database role must not delete, export or administer."
  }

  assert {
    condition     = alltrue([for each in google_project_iam_member.uses_database : each.condition[0].expression == "resource.name == \"projects/shop-production/databases/(default)\""])
    error_message = "Access must end at the one database."
  }

  assert {
    condition = length(setintersection(["allUsers", "allAuthenticatedUsers"], concat(
      [for each in google_cloud_run_v2_service_iam_member.invokes_dispatcher : each.member],
      google_cloud_run_v2_service_iam_member.invokes_sender[*].member,
      [for each in google_pubsub_topic_iam_member.dispatcher_publishes : each.member],
      [google_pubsub_topic_iam_member.sender_refuses.member],
    ))) == 0
    error_message = "Nothing may be open to everybody."
  }

  assert {
    condition     = google_cloud_run_v2_service.dispatcher.template[0].service_account != google_cloud_run_v2_service.sender[0].template[0].service_account
    error_message = "Each service must have an account of its own."
  }
}

run "services_are_reached_from_inside_only" {
  assert {
    condition = alltrue([
      for each in concat([google_cloud_run_v2_service.dispatcher], google_cloud_run_v2_service.sender) :
      each.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && each.invoker_iam_disabled != true && each.deletion_protection
    ])
    error_message = "Services must take internal traffic only, with IAM's check, and be protected from deletion."
  }
}

run "times_nest_and_are_the_same_everywhere" {
  assert {
    condition     = google_pubsub_subscription.mail.ack_deadline_seconds > local.sender_environment.LEASE_SECONDS
    error_message = "The acknowledgement deadline must be longer than the lease."
  }

  assert {
    condition     = google_pubsub_subscription.mail.ack_deadline_seconds == tonumber(local.sender_environment.ACK_DEADLINE_SECONDS)
    error_message = "The sender must know the deadline that its subscription has."
  }

  assert {
    condition     = google_cloud_run_v2_service.sender[0].template[0].timeout == "${google_pubsub_subscription.mail.ack_deadline_seconds}s"
    error_message = "Cloud Run must not cut a push off before Pub/Sub does."
  }
}

run "dead_letters_can_be_moved_noted_and_replayed" {
  assert {
    condition     = google_pubsub_subscription.mail.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letters.id
    error_message = "What can't be delivered must go to the dead-letter topic."
  }

  assert {
    condition     = google_project_service_identity.pubsub.service == "pubsub.googleapis.com"
    error_message = "Pub/Sub's own account must be made before it is given permissions: a new project has none."
  }

  assert {
    condition = alltrue([
      google_pubsub_topic_iam_member.forwards_dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
      google_pubsub_topic_iam_member.forwards_dead_letters.topic == google_pubsub_topic.dead_letters.name,
      google_pubsub_topic_iam_member.forwards_dead_letters.role == "roles/pubsub.publisher",
      google_pubsub_subscription_iam_member.forwards_dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
      google_pubsub_subscription_iam_member.forwards_dead_letters.subscription == google_pubsub_subscription.mail.name,
      google_pubsub_subscription_iam_member.forwards_dead_letters.role == "roles/pubsub.subscriber",
    ])
    error_message = "Pub/Sub's own account must be allowed to publish dead letters and to acknowledge the originals: without, it moves none."
  }

  assert {
    condition     = google_pubsub_subscription.dead_letters_push.push_config[0].push_endpoint == "${google_cloud_run_v2_service.dispatcher.uri}/dead-letters"
    error_message = "Dead letters must reach the dispatcher."
  }

  assert {
    condition     = google_pubsub_subscription.dead_letters_pull.topic == google_pubsub_topic.dead_letters.id && length(google_pubsub_subscription.dead_letters_pull.push_config) == 0
    error_message = "Dead letters must also wait to be pulled."
  }

  assert {
    condition = alltrue([
      for each in [google_pubsub_subscription.mail, google_pubsub_subscription.dead_letters_push, google_pubsub_subscription.dead_letters_pull] :
      each.expiration_policy[0].ttl == ""
    ])
    error_message = "Subscriptions must not vanish when nothing is sent for a month."
  }
}

run "events_come_as_the_dispatcher_reads_them" {
  assert {
    condition     = google_eventarc_trigger.documents.event_data_content_type == "application/protobuf"
    error_message = "The dispatcher reads protobuf."
  }

  assert {
    condition = {
      for each in google_eventarc_trigger.documents.matching_criteria : each.attribute => each.value
      } == {
      type     = "google.cloud.firestore.document.v1.written"
      database = "(default)"
      document = "mail/{document}"
    }
    error_message = "The trigger must select the writes to the mail collection of this database."
  }
}

run "secrets_are_references" {
  assert {
    condition = [
      for each in google_cloud_run_v2_service.sender[0].template[0].containers[0].env : each.value_source[0].secret_key_ref[0].version
      if each.name == "SMTP_CONNECTION_URI"
    ] == ["1"]
    error_message = "The SMTP URI must be read from Secret Manager, in a version that is named."
  }

  assert {
    condition = alltrue([
      for each in concat(
        tolist(google_cloud_run_v2_service.dispatcher.template[0].containers[0].env),
        tolist(google_cloud_run_v2_service.sender[0].template[0].containers[0].env),
      ) : !contains(local.secret_settings, each.name) || each.value == null
    ])
    error_message = "No secret may be an environment variable's plain value."
  }

  assert {
    condition     = google_secret_manager_secret_iam_member.sender_reads["SMTP_CONNECTION_URI"].member == google_service_account.sender.member
    error_message = "The sender, and only it, must be allowed to read the secret."
  }
}

run "growing_times_are_not_indexed_and_what_is_asked_for_is" {
  assert {
    condition = alltrue([
      for field in ["delivery.startTime", "delivery.endTime", "delivery.leaseExpireTime"] :
      length(google_firestore_field.unindexed[field].index_config[0].indexes) == 0
    ])
    error_message = "An index on a time that only grows caps how fast documents can be written."
  }

  assert {
    condition = alltrue([
      for field in ["delivery.state", "delivery.nextAttemptTime"] :
      one(google_firestore_field.indexed[field].index_config[0].indexes).order == "ASCENDING"
    ])
    error_message = "The reconciler needs indexes on delivery.state and delivery.nextAttemptTime."
  }

  assert {
    condition = alltrue([
      for field in ["delivery.info.messageId", "delivery.info.sendgridQueueId", "delivery.rendered.subject", "message.messageId", "message.subject"] :
      one(google_firestore_field.indexed[field].index_config[0].indexes).order == "ASCENDING"
      ]) && alltrue([
      for field in ["delivery.info.accepted", "delivery.info.rejected", "delivery.info.pending"] :
      contains(google_firestore_field.indexed[field].index_config[0].indexes[*].array_config, "CONTAINS")
      ]) && alltrue([
      for field in ["delivery.info.rejected", "delivery.info.pending"] :
      contains(google_firestore_field.indexed[field].index_config[0].indexes[*].order, "ASCENDING")
    ])
    error_message = "The command line looks mails up by these fields, and lists partial rejections."
  }

  assert {
    condition     = length(google_firestore_field.expiry) == 0
    error_message = "Without ttl, nothing may be deleted."
  }
}

run "every_alert_says_what_to_do" {
  assert {
    condition = alltrue([
      for key, each in google_monitoring_alert_policy.this :
      each.severity != null && strcontains(each.documentation[0].content, "docs/operating.md#${key}")
    ])
    error_message = "An alert must have a severity, and documentation that links to its section of the runbook."
  }

  assert {
    condition     = google_monitoring_slo.time_to_accept.request_based_sli[0].distribution_cut[0].range[0].max == 60000
    error_message = "The objective must be cut at slo.seconds, in milliseconds."
  }
}

run "events_that_never_arrive_are_noticed" {
  assert {
    condition = anytrue([
      for each in google_monitoring_alert_policy.this["events-failing"].conditions :
      strcontains(each.condition_threshold[0].filter, "oldest_unacked_message_age") &&
      can(regex(regex("full_match\\(\"(.*)\"\\)", each.condition_threshold[0].filter)[0], "eventarc-europe-west3-firepost-documents-sub-123"))
    ])
    error_message = "An event that waits because the dispatcher can't be reached must raise an alert: Cloud Run counts no request then."
  }
}

run "the_dashboard_is_json_with_a_filter_on_every_line" {
  assert {
    condition = alltrue(flatten([
      for widget in jsondecode(google_monitoring_dashboard.this.dashboard_json).gridLayout.widgets : [
        for line in widget.xyChart.dataSets : can(regex("metric.type=\"[^\"]+\" .*resource.type=\"[^\"]+\"", line.timeSeriesQuery.timeSeriesFilter.filter))
      ]
    ]))
    error_message = "Each line of the dashboard must name a metric and a resource."
  }
}

run "the_mail_server_never_sees_more_than_this" {
  variables {
    sender = { max_instances = 3, smtp_max_connections = 5, smtp_rate_per_second = 2 }
  }

  assert {
    condition     = output.mail_server_limits == { connections = 15, mails_per_second = 6 }
    error_message = "The limits are instances times what each may do."
  }

  assert {
    condition     = google_cloud_run_v2_service.sender[0].template[0].scaling[0].max_instance_count == 3 && local.sender_environment.SMTP_MAX_CONNECTIONS == "5" && local.sender_environment.SMTP_RATE_PER_SECOND == "2"
    error_message = "What the output promises must be what the services are given."
  }
}
