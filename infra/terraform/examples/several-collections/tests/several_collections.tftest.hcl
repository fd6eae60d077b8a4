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

  image_repository = "europe-west3-docker.pkg.dev/shop-production/firepost"
}

run "each_collection_has_a_system_of_its_own" {
  command = plan

  assert {
    condition     = { for name, each in output.firepost : name => each.command_line_environment.MAIL_COLLECTION } == { firepost = "mail", newsletter = "newsletter/outbox/mail" }
    error_message = "Each collection must have a system."
  }

  assert {
    condition     = toset([for each in output.firepost : each.repository]) == toset([var.image_repository]) && length(distinct([for each in output.firepost : each.mail_topic])) == 2
    error_message = "They must share the images, and nothing else."
  }
}
