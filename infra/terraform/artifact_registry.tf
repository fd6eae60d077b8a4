# The repository of the images.

resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84: encrypted with Google's keys; images contain no secrets
  count = var.create_repository ? 1 : 0

  project       = var.project
  location      = local.region
  repository_id = var.name
  description   = "Images of Firepost's services."
  format        = "DOCKER"
  labels        = local.labels

  docker_config {
    immutable_tags = true # a deployed tag always means the same image, so rollbacks work
  }

  # Tagged images are kept for rollbacks.
  cleanup_policies {
    id     = "untagged"
    action = "DELETE"
    condition {
      tag_state  = "UNTAGGED"
      older_than = "2592000s"
    }
  }

  depends_on = [google_project_service.this]
}
