# The database, if it is ours to make, and how it indexes mail documents. Indexes belong to collections of an id, wherever
# they are: those of tenants/acme/mail and mail are the same.

locals {
  collection_id = element(reverse(split("/", var.mail_collection)), 0)
  database_id   = var.database.create ? google_firestore_database.this[0].name : var.database.id
}

resource "google_firestore_database" "this" {
  count = var.database.create ? 1 : 0

  project                 = var.project
  name                    = var.database.id
  location_id             = var.database.location
  type                    = "FIRESTORE_NATIVE"
  delete_protection_state = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy         = "ABANDON" # destroying is for what can be made again

  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"

  depends_on = [google_project_service.this]
}

resource "google_firestore_field" "unindexed" {
  for_each = var.unindexed_fields

  project    = var.project
  database   = local.database_id
  collection = local.collection_id
  field      = each.key

  index_config {} # none

  depends_on = [google_project_service.this]
}

# What the reconciler and the command line ask for, and nothing more: by default, each field has two indexes.
resource "google_firestore_field" "indexed" {
  for_each = length(var.unindexed_fields) == 0 ? [] : toset(["delivery.state", "delivery.nextAttemptTime", "delivery.errorCode"])

  project    = var.project
  database   = local.database_id
  collection = local.collection_id
  field      = each.key

  index_config {
    indexes {
      order       = "ASCENDING"
      query_scope = "COLLECTION"
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_firestore_field" "expiry" {
  count = var.ttl == null ? 0 : 1

  project    = var.project
  database   = local.database_id
  collection = local.collection_id
  field      = "delivery.expireAt"

  ttl_config {}
  index_config {} # it grows with time as the others do

  depends_on = [google_project_service.this]
}
