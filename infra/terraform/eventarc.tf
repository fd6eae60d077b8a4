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
    google_project_iam_member.receives_events,
    google_cloud_run_v2_service_iam_member.invokes_dispatcher,
  ]
}
