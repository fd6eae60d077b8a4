# The required Google APIs and Google's own accounts. APIs stay enabled when this is destroyed, because others may use them.

locals {
  apis = concat(
    [
      "artifactregistry.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "cloudscheduler.googleapis.com",
      "eventarc.googleapis.com",
      "eventarcpublishing.googleapis.com", # named by Google's guide to this kind of trigger
      "firestore.googleapis.com",
      "iam.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
    ],
    var.static_egress == null ? [] : ["compute.googleapis.com"],
    var.traces == null ? [] : ["cloudtrace.googleapis.com"],
    var.kms_key == null ? [] : ["cloudkms.googleapis.com"],
  )

  # Those whose own accounts need permissions here. Google creates each on first use, which is too late: an account must exist
  # before it can be granted anything.
  agents = concat(["eventarc", "pubsub"], var.kms_key == null ? [] : local.encrypting_agents)
}

resource "google_project_service" "this" {
  for_each = toset(local.apis)

  project            = var.project
  service            = each.key
  disable_on_destroy = false
}

resource "google_project_service_identity" "this" {
  for_each = toset(local.agents)
  provider = google-beta

  project = var.project
  service = "${each.key}.googleapis.com"

  depends_on = [google_project_service.this]
}

# Google's answer comes before an API works everywhere. Whatever uses an API waits for this, once: it waits again only if
# the list changes.
resource "time_sleep" "apis" {
  create_duration = "60s"

  triggers = merge(
    { for api, each in google_project_service.this : api => each.id },
    { for agent, each in google_project_service_identity.this : agent => each.id },
  )
}
