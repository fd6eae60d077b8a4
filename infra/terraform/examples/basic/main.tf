# A complete production system from four variables. The database must exist; the SMTP URI, which contains the password, is
# added to Secret Manager by hand. docs/deploying.md explains each step.

module "firepost" {
  source = "../.."

  project       = var.project
  database      = { location = var.database_location }
  image_version = var.image_version
  default_from  = var.default_from

  notification_channels = var.notification_channels
  runbook_url           = var.runbook_url
}
