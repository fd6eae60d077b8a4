# A complete production system from five variables. The database must exist; the SMTP URI, which contains the password, is
# added to Secret Manager by hand. docs/deploying.md explains each step.

module "firepost" {
  source = "../.."

  project          = var.project
  database         = { location = var.database_location }
  dispatcher_image = var.dispatcher_image
  sender_image     = var.sender_image
  default_from     = var.default_from

  notification_channels = var.notification_channels
}
