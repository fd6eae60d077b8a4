# The five variables suffice.

mock_provider "google" {}

mock_provider "google-beta" {
  mock_resource "google_project_service_identity" {
    defaults = { member = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" }
  }
}

variables {
  project           = "shop-production"
  database_location = "eur3"
  dispatcher_image  = "europe-west4-docker.pkg.dev/shop-production/firepost/dispatcher:1a2b3c4"
  sender_image      = "europe-west4-docker.pkg.dev/shop-production/firepost/sender:1a2b3c4"
  default_from      = "The Shop <shop@example.com>"
}

run "five_variables_make_a_system" {
  assert {
    condition     = output.firepost.region == "europe-west4"
    error_message = "The region must follow from the database's location."
  }

  assert {
    condition     = output.firepost.created_secrets == { SMTP_CONNECTION_URI = "firepost-smtp-connection-uri" }
    error_message = "The secret must be made, and the output say which one needs a version."
  }

  assert {
    condition     = output.firepost.mail_server_limits.connections == 40
    error_message = "The default towards the mail server is four instances of ten connections."
  }
}
