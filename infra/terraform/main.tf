# A complete system: modules/core sends mail, modules/monitoring watches it. Whoever brings monitoring of their own calls
# modules/core alone. variables.tf and outputs.tf are made from the modules' (`make terraform-docs`); validations are there.

module "core" {
  source = "./modules/core"

  project          = var.project
  name             = var.name
  database         = var.database
  region           = var.region
  scheduler_region = var.scheduler_region
  secret_locations = var.secret_locations
  message_regions  = var.message_regions
  kms_key          = var.kms_key
  mail_collection  = var.mail_collection
  image_version    = var.image_version
  image_repository = var.image_repository
  keep_images      = var.keep_images
  database_role_id = var.database_role_id
  labels           = var.labels
  static_egress    = var.static_egress

  subscription_type          = var.subscription_type
  shadow                     = var.shadow
  dispatcher                 = var.dispatcher
  sender                     = var.sender
  lanes                      = var.lanes
  default_from               = var.default_from
  default_reply_to           = var.default_reply_to
  recipients_allowed         = var.recipients_allowed
  recipients_redirect        = var.recipients_redirect
  attachment_buckets         = var.attachment_buckets
  lease_seconds              = var.lease_seconds
  attempt_seconds            = var.attempt_seconds
  ack_deadline_seconds       = var.ack_deadline_seconds
  max_attempts               = var.max_attempts
  lease_expiry_policy        = var.lease_expiry_policy
  lifecycle_events           = var.lifecycle_events
  eventarc_channel           = var.eventarc_channel
  ttl                        = var.ttl
  secrets                    = var.secrets
  settings                   = var.settings
  reconcile_minutes          = var.reconcile_minutes
  max_backoff_seconds        = var.max_backoff_seconds
  max_delivery_attempts      = var.max_delivery_attempts
  dead_letter_retention_days = var.dead_letter_retention_days
  unindexed_fields           = var.unindexed_fields
  traces                     = var.traces
}

module "monitoring" {
  source = "./modules/monitoring"

  project   = var.project
  name      = var.name
  labels    = var.labels
  resources = module.core.resources

  notification_channels = var.notification_channels
  runbook_url           = var.runbook_url
  alerts                = var.alerts
  slo                   = var.slo
}
