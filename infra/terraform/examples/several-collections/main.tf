# Two collections of one database, each with services, backlog, limits, permissions and alerts of its own. They share the
# images, and the indexes: Firestore's settings are for all collections with the same id.

locals {
  collections = { firepost = "mail", newsletter = "newsletter/outbox/mail" }
  first       = "firepost"
}

module "firepost" {
  source   = "../.."
  for_each = local.collections

  name            = each.key
  project         = var.project
  database        = { location = var.database_location }
  mail_collection = each.value
  image_version   = var.image_version
  default_from    = var.default_from

  image_repository = each.key == local.first ? null : var.image_repository
  secrets          = { SMTP_CONNECTION_URI = { secret = "${each.key}-smtp-connection-uri", create = true } }
  unindexed_fields = each.key == local.first ? null : []
}
