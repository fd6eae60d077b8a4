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
