# The repository of the images.

resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84: encrypted with Google's keys unless kms_key is set; images contain no secrets
  count = var.image_repository == null ? 1 : 0

  project       = var.project
  location      = local.region
  repository_id = var.name
  description   = "Images of Firepost's services."
  format        = "DOCKER"
  labels        = local.labels
  kms_key_name  = var.kms_key

  docker_config {
    immutable_tags = true # a deployed tag always means the same image, so rollbacks work
  }

  cleanup_policies {
    id     = "untagged"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "2592000s"
    }
  }

  # Tagged images are kept for rollbacks: all of them, or the newest ones. A policy that keeps wins over one that deletes.
  dynamic "cleanup_policies" {
    for_each = var.keep_images == null ? [] : [var.keep_images]

    content {
      id     = "newest"
      action = "KEEP"
      most_recent_versions {
        keep_count = cleanup_policies.value
      }
    }
  }

  dynamic "cleanup_policies" {
    for_each = var.keep_images == null ? [] : ["15552000s"]

    content {
      id     = "old"
      action = "DELETE"
      condition {
        tag_state  = "TAGGED"
        older_than = cleanup_policies.value
      }
    }
  }

  depends_on = [time_sleep.apis, time_sleep.key]
}
