# The database, if the module creates it, and the indexes of mail documents. Indexes apply to all collections with the same
# id: tenants/acme/mail and mail share them.

locals {
  # Removing the indexes of a large collection takes long, and Google works on few at a time.
  index_timeout = "2h"

  # In shadow mode, indexes and expiry remain as the other system's users know them.
  unindexed_fields = var.shadow ? toset([]) : var.unindexed_fields

  collection_id = element(reverse(split("/", var.mail_collection)), 0)
  database_id   = var.database.create ? google_firestore_database.this[0].name : var.database.id
}

resource "google_firestore_database" "this" {
  count = var.database.create ? 1 : 0

  project                 = var.project
  name                    = var.database.id
  location_id             = var.database.location
  type                    = "FIRESTORE_NATIVE"
  database_edition        = "STANDARD" # the Enterprise edition has other indexes
  delete_protection_state = var.database.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy         = "ABANDON" # destroy only what can be recreated

  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"

  dynamic "cmek_config" {
    for_each = var.kms_key[*]

    content {
      kms_key_name = cmek_config.value
    }
  }

  depends_on = [time_sleep.apis, time_sleep.key]
}

resource "google_firestore_field" "unindexed" {
  for_each = local.unindexed_fields

  project    = var.project
  database   = local.database_id
  collection = local.collection_id
  field      = each.key

  index_config {} # none

  timeouts {
    create = local.index_timeout
    update = local.index_timeout
    delete = local.index_timeout
  }

  depends_on = [time_sleep.apis]
}

locals {
  # Of the other fields of `delivery`, only what the reconciler and the command line query: by default, each field has two
  # indexes, and an array three.
  queried_fields = ["delivery.state", "delivery.nextAttemptTime", "delivery.errorCode"]

  # What `python -m cli find` and `list --partial` look up. The index of a whole array finds those that are not empty.
  searched_fields = {
    "delivery.info.accepted"        = ["CONTAINS"]
    "delivery.info.rejected"        = ["CONTAINS", "ASCENDING"]
    "delivery.info.pending"         = ["CONTAINS", "ASCENDING"]
    "delivery.info.messageId"       = ["ASCENDING"]
    "delivery.info.sendgridQueueId" = ["ASCENDING"]
    "delivery.rendered.subject"     = ["ASCENDING"]
    "message.messageId"             = ["ASCENDING"]
    "message.subject"               = ["ASCENDING"]
  }
}

# A field of a map has the map's indexes unless it has a setting of its own. So searched fields need one only within an
# unindexed map, and naming one in unindexed_fields leaves it without an index, too.
resource "google_firestore_field" "indexed" {
  for_each = merge(
    { for field in local.queried_fields : field => ["ASCENDING"] if length(local.unindexed_fields) > 0 },
    {
      for field, indexes in local.searched_fields : field => indexes
      if !contains(local.unindexed_fields, field) && anytrue([for map in local.unindexed_fields : startswith(field, "${map}.")])
    },
  )

  project    = var.project
  database   = local.database_id
  collection = local.collection_id
  field      = each.key

  index_config {
    dynamic "indexes" {
      for_each = each.value

      content {
        order        = indexes.value == "CONTAINS" ? null : indexes.value
        array_config = indexes.value == "CONTAINS" ? indexes.value : null
        query_scope  = "COLLECTION"
      }
    }
  }

  timeouts {
    create = local.index_timeout
    update = local.index_timeout
    delete = local.index_timeout
  }

  depends_on = [time_sleep.apis]
}

resource "google_firestore_field" "expiry" {
  count = var.ttl == null || var.shadow ? 0 : 1

  project    = var.project
  database   = local.database_id
  collection = local.collection_id
  field      = "delivery.expireAt"

  ttl_config {}
  index_config {} # it only grows, like the others

  timeouts {
    create = local.index_timeout
    update = local.index_timeout
    delete = local.index_timeout
  }

  depends_on = [time_sleep.apis]
}
