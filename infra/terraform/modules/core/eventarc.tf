# Every write to a mail document becomes an event for the dispatcher.

resource "google_eventarc_trigger" "documents" {
  project  = var.project
  name     = "${var.name}-documents"
  location = var.database.location # must be the database's, multi-regions included
  labels   = local.labels

  service_account         = google_service_account.events.email
  event_data_content_type = "application/protobuf"

  matching_criteria {
    attribute = "type"
    value     = "google.cloud.firestore.document.v1.written"
  }

  matching_criteria {
    attribute = "database"
    value     = local.database_id
  }

  matching_criteria {
    attribute = "document"
    value     = "${var.mail_collection}/{document}"
    operator  = "match-path-pattern"
  }

  destination {
    cloud_run_service {
      service = google_cloud_run_v2_service.dispatcher.name
      region  = local.region
    }
  }

  depends_on = [
    time_sleep.permissions,
    google_cloud_run_v2_service_iam_member.invokes_dispatcher,
  ]
}

# Eventarc delivers through a subscription of its own. It keeps events for a day, then drops them, unless that is changed
# on the subscription itself (https://cloud.google.com/eventarc/docs/retry-events), which Terraform can't do: it does not own it.
# The command is the output keep_events_command. 100 deliveries, ten minutes apart, are 16 hours.
locals {
  # Tests' mocked provider returns no transport.
  events_subscription = try(basename(google_eventarc_trigger.documents.transport[0].pubsub[0].subscription), "unknown")

  keep_events_command = join(" ", [
    "gcloud pubsub subscriptions update ${local.events_subscription} --project=${var.project}",
    "--message-retention-duration=7d --dead-letter-topic=${google_pubsub_topic.this["dead_events"].name} --max-delivery-attempts=100",
  ])
}
