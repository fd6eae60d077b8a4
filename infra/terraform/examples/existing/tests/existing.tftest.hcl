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

  database_id           = "mail"
  image_repository      = "europe-west3-docker.pkg.dev/shared/firepost"
  smtp_secret           = "projects/shop-secrets/secrets/smtp"
  notification_channels = ["projects/shop-production/notificationChannels/1"]
  runbook_url           = "https://example.com/docs/operating.md"
}

run "nothing_that_exists_is_created" {
  command = plan

  assert {
    condition     = output.firepost.repository == var.image_repository && length(output.firepost.created_secrets) == 0 && output.firepost.command_line_environment.DATABASE == "mail"
    error_message = "Images, secret and database must be the existing ones."
  }
}
