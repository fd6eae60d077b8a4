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

run "a_lane_has_a_sender_and_is_watched" {
  command = plan

  assert {
    condition     = output.firepost.resources.lanes.bulk.sender == "firepost-sender-bulk" && output.firepost.resources.lanes.bulk.subscription == "firepost-mail-sender-bulk"
    error_message = "The lane must have a sender and a subscription of its own."
  }
}
