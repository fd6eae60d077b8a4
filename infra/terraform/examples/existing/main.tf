# Into a project that has its own database, secrets, images and notification channels: nothing of these is created. The SMTP URI
# is a secret of another project, and everything stays in one region, as an organisation's policy may demand.

module "firepost" {
  source = "../.."

  project          = var.project
  database         = { id = var.database_id, location = var.database_location }
  image_version    = var.image_version
  image_repository = var.image_repository
  default_from     = var.default_from

  secrets = { SMTP_CONNECTION_URI = { secret = var.smtp_secret, version = "3" } }

  message_regions = [var.database_location]

  notification_channels = var.notification_channels
  runbook_url           = var.runbook_url
}
