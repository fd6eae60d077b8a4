# Permissions. docs/security.md has them as a table, with the reasons.

resource "google_service_account" "dispatcher" {
  project      = var.project
  account_id   = "${var.name}-dispatcher"
  display_name = "Firepost: the dispatcher runs as this"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "sender" {
  project      = var.project
  account_id   = "${var.name}-sender"
  display_name = "Firepost: the sender runs as this"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "events" {
  project      = var.project
  account_id   = "${var.name}-events"
  display_name = "Firepost: Eventarc calls the dispatcher as this"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "push" {
  project      = var.project
  account_id   = "${var.name}-push"
  display_name = "Firepost: Pub/Sub calls the services as this"

  depends_on = [google_project_service.this]
}

resource "google_service_account" "scheduler" {
  project      = var.project
  account_id   = "${var.name}-scheduler"
  display_name = "Firepost: Cloud Scheduler calls the dispatcher as this"

  depends_on = [google_project_service.this]
}

# --- Firestore ---

# The Firestore permissions of both services (https://cloud.google.com/firestore/docs/security/iam). Unlike
# roles/datastore.user, the role can't delete, and sees no indexes, namespaces or statistics.
resource "google_project_iam_custom_role" "database" {
  project     = var.project
  role_id     = "${replace(var.name, "-", "_")}_database"
  title       = "Firepost: read and write documents"
  description = "Read, query, create and update documents; begin and roll back transactions."
  permissions = [
    "datastore.databases.get", # needed to begin and roll back transactions, despite its name
    "datastore.entities.create",
    "datastore.entities.get",
    "datastore.entities.list",
    "datastore.entities.update",
  ]

  depends_on = [google_project_service.this]
}

resource "google_project_iam_member" "uses_database" {
  for_each = {
    dispatcher = google_service_account.dispatcher.member
    sender     = google_service_account.sender.member
  }

  project = var.project
  role    = google_project_iam_custom_role.database.id
  member  = each.value

  condition {
    title      = "${var.name}-database"
    expression = "resource.name == \"projects/${var.project}/databases/${var.database.id}\""
  }
}

# --- Pub/Sub ---

resource "google_pubsub_topic_iam_member" "dispatcher_publishes" {
  for_each = merge(
    { mail = google_pubsub_topic.mail.name },
    { for topic in google_pubsub_topic.lifecycle : "events" => topic.name },
  )

  project = var.project
  topic   = each.value
  role    = "roles/pubsub.publisher"
  member  = google_service_account.dispatcher.member
}

resource "google_pubsub_topic_iam_member" "sender_refuses" {
  project = var.project
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.sender.member
}

resource "google_pubsub_subscription_iam_member" "sender_pulls" {
  count = local.pulls ? 1 : 0

  project      = var.project
  subscription = google_pubsub_subscription.mail.name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.sender.member
}

# Pub/Sub itself moves dead letters: it publishes to one topic and acknowledges on the other's subscription.
resource "google_pubsub_topic_iam_member" "forwards_dead_letters" {
  project = var.project
  topic   = google_pubsub_topic.dead_letters.name
  role    = "roles/pubsub.publisher"
  member  = google_project_service_identity.pubsub.member
}

resource "google_pubsub_subscription_iam_member" "forwards_dead_letters" {
  project      = var.project
  subscription = google_pubsub_subscription.mail.name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}

# --- Callers ---

locals {
  dispatcher_callers = {
    events    = google_service_account.events
    push      = google_service_account.push
    scheduler = google_service_account.scheduler
  }
}

resource "google_cloud_run_v2_service_iam_member" "invokes_dispatcher" {
  for_each = local.dispatcher_callers

  project  = var.project
  location = local.region
  name     = google_cloud_run_v2_service.dispatcher.name
  role     = "roles/run.invoker"
  member   = each.value.member
}

resource "google_cloud_run_v2_service_iam_member" "invokes_sender" {
  count = local.pulls ? 0 : 1

  project  = var.project
  location = local.region
  name     = google_cloud_run_v2_service.sender[0].name
  role     = "roles/run.invoker"
  member   = google_service_account.push.member
}

resource "google_project_iam_member" "receives_events" {
  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.events.member
}

# --- Secrets ---

resource "google_secret_manager_secret_iam_member" "sender_reads" {
  for_each = local.secret_references

  project   = var.project
  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.sender.member
}

# --- Attachments ---

resource "google_storage_bucket_iam_member" "sender_attaches" {
  for_each = var.attachment_buckets

  bucket = each.value
  role   = "roles/storage.objectViewer"
  member = google_service_account.sender.member
}
