# All that a production system needs, from five variables. The database exists already; the SMTP URI, which holds the
# password, is put into Secret Manager by hand. docs/deploying.md goes through it step by step.

module "firepost" {
  source = "../.."

  project          = var.project
  database         = { location = var.database_location }
  dispatcher_image = var.dispatcher_image
  sender_image     = var.sender_image
  default_from     = var.default_from

  notification_channels = var.notification_channels
}
