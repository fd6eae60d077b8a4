# Where the images are kept.

resource "google_artifact_registry_repository" "images" {
  # checkov:skip=CKV_GCP_84: Google's keys encrypt; images hold no secrets
  count = var.create_repository ? 1 : 0

  project       = var.project
  location      = local.region
  repository_id = var.name
  description   = "Images of Firepost's services."
  format        = "DOCKER"
  labels        = local.labels

  docker_config {
    immutable_tags = true # a tag that has been deployed always means the same image, so going back works
  }

  # Nothing is deleted that has a tag: with immutable tags, that is what can be gone back to.
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
