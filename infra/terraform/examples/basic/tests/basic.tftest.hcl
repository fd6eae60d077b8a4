# The four variables suffice.

mock_provider "google" {}

mock_provider "google-beta" {
  mock_resource "google_project_service_identity" {
    defaults = { member = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" }
  }
}

mock_provider "time" {}

variables {
  project           = "shop-production"
  database_location = "eur3"
  image_version     = "1.2.3"
  default_from      = "The Shop <shop@example.com>"
}

run "four_variables_make_a_system" {
  assert {
    condition     = output.firepost.region == "europe-west4" && output.firepost.repository == "europe-west4-docker.pkg.dev/shop-production/firepost"
    error_message = "Region and repository must follow from the database's location."
  }

  assert {
    condition     = output.firepost.created_secrets == { SMTP_CONNECTION_URI = "firepost-smtp-connection-uri" }
    error_message = "The secret must be made, and the output say which one needs a version."
  }

  assert {
    condition     = output.firepost.mail_server_load.connections == 160
    error_message = "The default towards the mail server is four instances of forty connections."
  }

  assert {
    condition     = startswith(output.firepost.dashboard, "https://console.cloud.google.com/monitoring/dashboards/builder/") && startswith(output.keep_events_command, "gcloud pubsub subscriptions update ")
    error_message = "The system must be watched, and say what to do after an apply."
  }
}
