# A deployment with as few variables as possible. All is shown in one run, because each run takes a second. If an assertion
# fails, the others are still checked, and Terraform says what each of those that failed is about.

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
  default_from  = "The Shop <shop@example.com>"
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

run "four_variables_make_a_system_that_is_closed_loses_nothing_and_starts_at_once" {
  # Push shows a token that the sender accepts.
  assert {
    condition     = google_pubsub_subscription.mail["default"].push_config[0].oidc_token[0].audience == google_cloud_run_v2_service.sender["default"].uri
    error_message = "The token's audience must be the sender's address."
  }

  assert {
    condition     = startswith(google_cloud_run_v2_service.sender["default"].uri, split("*", local.audience_pattern.sender)[0]) && endswith(google_cloud_run_v2_service.sender["default"].uri, split("*", local.audience_pattern.sender)[1])
    error_message = "The sender's address must match the audience that it accepts."
  }

  assert {
    condition     = google_pubsub_subscription.mail["default"].push_config[0].oidc_token[0].service_account_email == local.push_environment.OIDC_SERVICE_ACCOUNTS
    error_message = "The token's account must be the one that the sender accepts."
  }

  assert {
    condition     = google_cloud_run_v2_service_iam_member.invokes_sender["default"].member == google_service_account.push.member
    error_message = "Pub/Sub's caller must be allowed to invoke the sender."
  }

  # Push makes no worker pool.
  assert {
    condition     = length(google_cloud_run_v2_worker_pool.sender) == 0 && length(google_pubsub_subscription_iam_member.sender_pulls) == 0
    error_message = "With subscription_type = \"push\" there is nothing that pulls."
  }

  # The dispatcher accepts its three callers, and no others.
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

  # Nobody has a broad role.
  assert {
    condition = length(setsubtract(
      toset(concat(
        [for each in google_project_iam_member.uses_database : each.role],
        [google_project_iam_member.receives_events.role, google_project_iam_member.eventarc_works.role],
      )),
      [google_project_iam_custom_role.database.id, "roles/eventarc.eventReceiver", "roles/eventarc.serviceAgent"],
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
      values(google_cloud_run_v2_service_iam_member.invokes_sender)[*].member,
      [for each in google_pubsub_topic_iam_member.dispatcher_publishes : each.member],
      [google_pubsub_topic_iam_member.sender_refuses.member],
    ))) == 0
    error_message = "Nothing may be open to everybody."
  }

  assert {
    condition     = google_cloud_run_v2_service.dispatcher.template[0].service_account != google_cloud_run_v2_service.sender["default"].template[0].service_account
    error_message = "Each service must have an account of its own."
  }

  # Services are reached from inside only.
  assert {
    condition = alltrue([
      for each in concat([google_cloud_run_v2_service.dispatcher], values(google_cloud_run_v2_service.sender)) :
      each.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && each.invoker_iam_disabled != true
    ])
    error_message = "Services must take internal traffic only, with IAM's check."
  }

  # Without static egress there is no network.
  assert {
    condition     = length(google_compute_network.egress) + length(google_compute_address.egress) == 0 && length(google_cloud_run_v2_service.sender["default"].template[0].vpc_access) == 0
    error_message = "A network may only be made where it is wanted."
  }

  # Times nest and are the same everywhere.
  assert {
    condition     = google_pubsub_subscription.mail["default"].ack_deadline_seconds > local.sender_environment.LEASE_SECONDS
    error_message = "The acknowledgement deadline must be longer than the lease."
  }

  assert {
    condition     = google_pubsub_subscription.mail["default"].ack_deadline_seconds == tonumber(local.sender_environment.ACK_DEADLINE_SECONDS)
    error_message = "The sender must know the deadline that its subscription has."
  }

  assert {
    condition     = google_cloud_run_v2_service.sender["default"].template[0].timeout == "${google_pubsub_subscription.mail["default"].ack_deadline_seconds}s"
    error_message = "Cloud Run must not cut a push off before Pub/Sub does."
  }

  # Dead letters can be moved, noted and replayed.
  assert {
    condition     = google_pubsub_subscription.mail["default"].dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.this["dead_letters"].id
    error_message = "What can't be delivered must go to the dead-letter topic."
  }

  assert {
    condition     = google_project_service_identity.this["pubsub"].service == "pubsub.googleapis.com"
    error_message = "Pub/Sub's own account must be made before it is given permissions: a new project has none."
  }

  assert {
    condition = alltrue([
      google_pubsub_topic_iam_member.forwards_dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
      google_pubsub_topic_iam_member.forwards_dead_letters.topic == google_pubsub_topic.this["dead_letters"].name,
      google_pubsub_topic_iam_member.forwards_dead_letters.role == "roles/pubsub.publisher",
      google_pubsub_subscription_iam_member.forwards_dead_letters["default"].member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
      google_pubsub_subscription_iam_member.forwards_dead_letters["default"].subscription == google_pubsub_subscription.mail["default"].name,
      google_pubsub_subscription_iam_member.forwards_dead_letters["default"].role == "roles/pubsub.subscriber",
    ])
    error_message = "Pub/Sub's own account must be allowed to publish dead letters and to acknowledge the originals: without, it moves none."
  }

  assert {
    condition     = google_pubsub_subscription.dead_letters_push.push_config[0].push_endpoint == "${google_cloud_run_v2_service.dispatcher.uri}/dead-letters"
    error_message = "Dead letters must reach the dispatcher."
  }

  assert {
    condition     = google_pubsub_subscription.dead_letters_pull.topic == google_pubsub_topic.this["dead_letters"].id && length(google_pubsub_subscription.dead_letters_pull.push_config) == 0
    error_message = "Dead letters must also wait to be pulled."
  }

  assert {
    condition = alltrue([
      for each in [google_pubsub_subscription.mail["default"], google_pubsub_subscription.dead_letters_push, google_pubsub_subscription.dead_letters_pull] :
      each.expiration_policy[0].ttl == ""
    ])
    error_message = "Subscriptions must not vanish when nothing is sent for a month."
  }

  # Events come as the dispatcher reads them.
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

  # Secrets are references.
  assert {
    condition = [
      for each in google_cloud_run_v2_service.sender["default"].template[0].containers[0].env : each.value_source[0].secret_key_ref[0].version
      if each.name == "SMTP_CONNECTION_URI"
    ] == ["1"]
    error_message = "The SMTP URI must be read from Secret Manager, in a version that is named."
  }

  assert {
    condition = alltrue([
      for each in concat(
        tolist(google_cloud_run_v2_service.dispatcher.template[0].containers[0].env),
        tolist(google_cloud_run_v2_service.sender["default"].template[0].containers[0].env),
      ) : !contains(local.secret_settings, each.name) || each.value == null
    ])
    error_message = "No secret may be an environment variable's plain value."
  }

  assert {
    condition     = google_secret_manager_secret_iam_member.sender_reads["SMTP_CONNECTION_URI"].member == google_service_account.sender.member && google_secret_manager_secret_iam_member.sender_reads["SMTP_CONNECTION_URI"].secret_id == "projects/shop-production/secrets/firepost-smtp-connection-uri"
    error_message = "The sender, and only it, must be allowed to read the secret."
  }

  # Growing times are not indexed, and what is asked for is.
  assert {
    condition = alltrue([
      for field in ["delivery.startTime", "delivery.endTime", "delivery.leaseExpireTime", "delivery.unsentLease", "delivery.history"] :
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

  # A failed first start is repaired by applying again.
  assert {
    condition     = alltrue([for each in concat([google_cloud_run_v2_service.dispatcher], values(google_cloud_run_v2_service.sender)) : each.deletion_protection == false])
    error_message = "Terraform replaces a service whose first start failed; deletion protection would forbid that."
  }

  # Nothing fails for reasons of order.
  assert {
    condition     = toset(keys(google_project_service_identity.this)) == toset(["eventarc", "pubsub"]) && contains(keys(google_project_service.this), "eventarcpublishing.googleapis.com")
    error_message = "Google's own accounts must exist before they are granted anything, and all of Eventarc's APIs be enabled."
  }

  assert {
    condition     = google_project_iam_member.eventarc_works.role == "roles/eventarc.serviceAgent"
    error_message = "Eventarc must have its role before the first trigger."
  }

  assert {
    condition     = toset(keys(time_sleep.apis.triggers)) == toset(concat(local.apis, local.agents))
    error_message = "A later apply must wait if and only if an API or an account is new."
  }

  assert {
    condition = toset(values(time_sleep.permissions.triggers)) == toset(concat(
      [google_project_iam_member.receives_events.id, google_project_iam_member.eventarc_works.id],
      [for each in google_project_iam_member.uses_database : each.id],
      [for each in google_service_account_iam_member.signs_tokens : each.id],
      [for each in google_secret_manager_secret_iam_member.sender_reads : each.id],
    ))
    error_message = "Services and trigger must wait for the permissions that they need to start, and later only for new ones."
  }

  assert {
    condition     = alltrue([for each in google_firestore_field.unindexed : each.timeouts.create == "2h" && each.timeouts.update == "2h" && each.timeouts.delete == "2h"])
    error_message = "Google may work on the indexes of a large collection for more than twenty minutes."
  }

  # Tokens are signed in old projects too.
  assert {
    condition = {
      for key, each in google_service_account_iam_member.signs_tokens : key => [each.role, each.member]
      } == {
      events = ["roles/iam.serviceAccountTokenCreator", "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"]
      push   = ["roles/iam.serviceAccountTokenCreator", "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"]
    }
    error_message = "Pub/Sub must be allowed to sign the tokens of its pushes and of Eventarc's."
  }

  # Events are kept for a week, and then can be replayed.
  assert {
    condition     = endswith(output.keep_events_command, "subscriptions update unknown --project=shop-production --message-retention-duration=7d --dead-letter-topic=firepost-document-events-dead-letter --max-delivery-attempts=100")
    error_message = "The command must set retention and dead-letter topic of Eventarc's own subscription."
  }

  assert {
    condition = alltrue([
      google_pubsub_topic_iam_member.forwards_dead_events.topic == google_pubsub_topic.this["dead_events"].name,
      google_pubsub_topic_iam_member.forwards_dead_events.role == "roles/pubsub.publisher",
      google_pubsub_subscription_iam_member.forwards_dead_events.subscription == local.events_subscription,
      google_pubsub_subscription_iam_member.forwards_dead_events.role == "roles/pubsub.subscriber",
    ])
    error_message = "Pub/Sub must be allowed to move dead events."
  }

  assert {
    condition     = google_pubsub_subscription.dead_events_pull.topic == google_pubsub_topic.this["dead_events"].id && google_pubsub_subscription.dead_events_pull.message_retention_duration == "1209600s" && google_pubsub_subscription.dead_events_pull.expiration_policy[0].ttl == ""
    error_message = "Dead events must wait for an operator."
  }

  # A refused message comes back within two minutes.
  assert {
    condition     = google_pubsub_subscription.mail["default"].retry_policy[0].maximum_backoff == "120s"
    error_message = "After a burst, a mail must not wait for ten minutes beside idle senders."
  }
}
