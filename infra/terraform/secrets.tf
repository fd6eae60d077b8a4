# Secrets by reference. Their values are added to Secret Manager separately (docs/deploying.md), so neither this
# configuration nor its state ever contains one.

resource "google_secret_manager_secret" "created" {
  for_each = { for name, each in var.secrets : name => each if each.create }

  project   = var.project
  secret_id = each.value.secret
  labels    = local.labels

  replication {
    auto {}
  }

  depends_on = [google_project_service.this]
}

locals {
  secret_references = {
    for name, each in var.secrets : name => {
      secret  = each.create ? google_secret_manager_secret.created[name].secret_id : each.secret
      version = each.version
    }
  }
}
