# The Google APIs that all else needs. They stay enabled when this is destroyed: others may use them.

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

# Pub/Sub's own account, which moves dead letters. Google makes it when it is first needed, which is too late: permissions
# can't be given to an account that does not exist yet.
resource "google_project_service_identity" "pubsub" {
  provider = google-beta

  project = var.project
  service = "pubsub.googleapis.com"

  depends_on = [google_project_service.this]
}
