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

run "a_pool_pulls" {
  command = plan

  assert {
    condition     = output.firepost.sender_url == null && output.firepost.mail_server_load.connections == 40
    error_message = "There must be no service, and the load be that of the pool."
  }
}
