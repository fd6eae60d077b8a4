# The required Google APIs. They stay enabled when this is destroyed, because others may use them.

resource "google_project_service" "this" {
  for_each = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "cloudscheduler.googleapis.com",
      "eventarc.googleapis.com",
      "firestore.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
    ],
    var.static_egress == null ? [] : ["compute.googleapis.com"],
  ))

  project            = var.project
  service            = each.key
  disable_on_destroy = false
}

# Pub/Sub's own account, which moves dead letters. Google creates it on first use, which is too late: an account must exist
# before it can be granted permissions.
resource "google_project_service_identity" "pubsub" {
  provider = google-beta

  project = var.project
  service = "pubsub.googleapis.com"

  depends_on = [google_project_service.this]
}
