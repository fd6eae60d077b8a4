# Secrets by reference. Their values are added to Secret Manager separately (docs/deploying.md), so neither this
# configuration nor its state ever contains one.

resource "google_secret_manager_secret" "created" {
  for_each = { for name, each in var.secrets : name => each if each.create }

  project   = var.project
  secret_id = each.value.secret
  labels    = local.labels

  replication {
    dynamic "auto" {
      for_each = length(local.secret_locations) == 0 ? [1] : []

      content {}
    }

    dynamic "user_managed" {
      for_each = length(local.secret_locations) == 0 ? [] : [local.secret_locations]

      content {
        dynamic "replicas" {
          for_each = user_managed.value

          content {
            location = replicas.value

            dynamic "customer_managed_encryption" {
              for_each = var.kms_key[*]

              content {
                kms_key_name = customer_managed_encryption.value
              }
            }
          }
        }
      }
    }
  }

  depends_on = [time_sleep.apis, time_sleep.key]
}

locals {
  # A key encrypts only what is stored where the key is.
  secret_locations = var.kms_key == null ? sort(var.secret_locations) : [local.key_location]

  secret_references = {
    for name, each in var.secrets : name => {
      secret  = each.create ? google_secret_manager_secret.created[name].secret_id : each.secret
      version = each.version
    }
  }
}
