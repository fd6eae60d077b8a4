mock_provider "google" {}

mock_provider "google-beta" {
  mock_resource "google_project_service_identity" {
    defaults = { member = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" }
  }
}

mock_provider "time" {}

variables {
  project           = "shop-production"
  database_location = "europe-west3"
  image_version     = "1.2.3"
  default_from      = "The Shop <shop@example.com>"
}

run "mail_leaves_from_one_address" {
  assert {
    condition     = output.egress_address != null
    error_message = "The address must be known, so that it can be allowed."
  }
}
