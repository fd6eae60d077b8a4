# Permissions. docs/security.md has them as a table, with the reasons.

resource "google_service_account" "dispatcher" {
  project      = var.project
  account_id   = "${var.name}-dispatcher"
  display_name = "Firepost: the dispatcher runs as this"

  depends_on = [time_sleep.apis]
}

resource "google_service_account" "sender" {
  project      = var.project
  account_id   = "${var.name}-sender"
  display_name = "Firepost: the sender runs as this"

  depends_on = [time_sleep.apis]
}

resource "google_service_account" "events" {
  project      = var.project
  account_id   = "${var.name}-events"
  display_name = "Firepost: Eventarc calls the dispatcher as this"

  depends_on = [time_sleep.apis]
}

resource "google_service_account" "push" {
  project      = var.project
  account_id   = "${var.name}-push"
  display_name = "Firepost: Pub/Sub calls the services as this"

  depends_on = [time_sleep.apis]
}

resource "google_service_account" "scheduler" {
  project      = var.project
  account_id   = "${var.name}-scheduler"
  display_name = "Firepost: Cloud Scheduler calls the dispatcher as this"

  depends_on = [time_sleep.apis]
}

# --- Firestore ---

# The Firestore permissions of both services (https://cloud.google.com/firestore/docs/security/iam). Unlike
# roles/datastore.user, the role can't delete, and sees no indexes, namespaces or statistics.
resource "google_project_iam_custom_role" "database" {
  project     = var.project
  role_id     = coalesce(var.database_role_id, "${replace(var.name, "-", "_")}_database")
  title       = "Firepost: read and write documents"
  description = "Read, query, create and update documents; begin and roll back transactions."
  permissions = concat(
    [
      "datastore.databases.get", # needed to begin and roll back transactions, despite its name
      "datastore.entities.get",
      "datastore.entities.list",
    ],
    var.shadow ? [] : [
      "datastore.entities.create",
      "datastore.entities.update",
    ],
  )

  depends_on = [time_sleep.apis]
}

resource "google_project_iam_member" "uses_database" {
  for_each = {
    dispatcher = google_service_account.dispatcher.member
    sender     = google_service_account.sender.member
  }

  project = var.project
  role    = google_project_iam_custom_role.database.id
  member  = each.value

  # A database's name, (default) included, as on
  # https://firebase.google.com/docs/firestore/manage-databases#configure_per-database_access_permissions.
  condition {
    title      = "${var.name}-database"
    expression = "resource.name == \"projects/${var.project}/databases/${var.database.id}\""
  }
}

# --- Pub/Sub ---

resource "google_pubsub_topic_iam_member" "dispatcher_publishes" {
  for_each = merge(
    { mail = google_pubsub_topic.this["mail"].name },
    var.lifecycle_events ? { events = google_pubsub_topic.this["lifecycle"].name } : {},
  )

  project = var.project
  topic   = each.value
  role    = "roles/pubsub.publisher"
  member  = google_service_account.dispatcher.member
}

resource "google_pubsub_topic_iam_member" "sender_refuses" {
  project = var.project
  topic   = google_pubsub_topic.this["dead_letters"].name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.sender.member
}

resource "google_pubsub_subscription_iam_member" "sender_pulls" {
  for_each = local.pulls ? local.senders : {}

  project      = var.project
  subscription = google_pubsub_subscription.mail[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.sender.member

  lifecycle {
    replace_triggered_by = [google_pubsub_subscription.mail[each.key].filter] # another subscription of the same name
  }
}

moved {
  from = google_pubsub_subscription_iam_member.sender_pulls[0]
  to   = google_pubsub_subscription_iam_member.sender_pulls["default"]
}

# Pub/Sub itself moves dead letters: it publishes to one topic and acknowledges on the other's subscription.
resource "google_pubsub_topic_iam_member" "forwards_dead_letters" {
  project = var.project
  topic   = google_pubsub_topic.this["dead_letters"].name
  role    = "roles/pubsub.publisher"
  member  = google_project_service_identity.this["pubsub"].member
}

resource "google_pubsub_subscription_iam_member" "forwards_dead_letters" {
  for_each = local.senders

  project      = var.project
  subscription = google_pubsub_subscription.mail[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.this["pubsub"].member

  lifecycle {
    replace_triggered_by = [google_pubsub_subscription.mail[each.key].filter] # another subscription of the same name
  }
}

moved {
  from = google_pubsub_subscription_iam_member.forwards_dead_letters
  to   = google_pubsub_subscription_iam_member.forwards_dead_letters["default"]
}

# Those of events are moved by the same account; eventarc.tf says why a command has to complete this.
resource "google_pubsub_topic_iam_member" "forwards_dead_events" {
  project = var.project
  topic   = google_pubsub_topic.this["dead_events"].name
  role    = "roles/pubsub.publisher"
  member  = google_project_service_identity.this["pubsub"].member
}

resource "google_pubsub_subscription_iam_member" "forwards_dead_events" {
  project      = var.project
  subscription = local.events_subscription
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.this["pubsub"].member
}

# --- Eventarc ---

# Google's provider knows no permission on a single channel.
resource "google_project_iam_member" "publishes_events" {
  count = var.eventarc_channel == null ? 0 : 1

  project = split("/", var.eventarc_channel)[1]
  role    = "roles/eventarc.publisher"
  member  = google_service_account.dispatcher.member
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
  for_each = google_cloud_run_v2_service.sender

  project  = var.project
  location = local.region
  name     = each.value.name
  role     = "roles/run.invoker"
  member   = google_service_account.push.member
}

moved {
  from = google_cloud_run_v2_service_iam_member.invokes_sender[0]
  to   = google_cloud_run_v2_service_iam_member.invokes_sender["default"]
}

resource "google_project_iam_member" "receives_events" {
  project = var.project
  role    = "roles/eventarc.eventReceiver"
  member  = google_service_account.events.member
}

# Google grants this with the first trigger, which then fails, because a permission takes minutes to spread.
resource "google_project_iam_member" "eventarc_works" {
  # checkov:skip=CKV_GCP_49: Google's role for Google's own account, which it has with every trigger
  project = var.project
  role    = "roles/eventarc.serviceAgent"
  member  = google_project_service_identity.this["eventarc"].member

  depends_on = [time_sleep.apis] # the account is new, too
}

# Pub/Sub signs the tokens of its pushes and of Eventarc's. Google has granted this by itself since April 2021; where it is
# missing, nothing is delivered and nothing says why.
resource "google_service_account_iam_member" "signs_tokens" {
  for_each = { events = google_service_account.events.name, push = google_service_account.push.name }

  service_account_id = each.value
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_project_service_identity.this["pubsub"].member
}

# --- Secrets ---

resource "google_secret_manager_secret_iam_member" "sender_reads" {
  for_each = local.secret_references

  # The full id names the project: one given beside it would show as a change if the secret belongs to another.
  secret_id = strcontains(each.value.secret, "/") ? each.value.secret : "projects/${var.project}/secrets/${each.value.secret}"
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

# --- Waiting ---

# Permissions take a minute or two to reach all of Google's servers. What fails without them waits for this: a sender that
# can't read its secret does not start. It waits again only when a permission is added.
resource "time_sleep" "permissions" {
  create_duration = "90s"

  triggers = merge(
    {
      receives_events = google_project_iam_member.receives_events.id
      eventarc_works  = google_project_iam_member.eventarc_works.id
    },
    { for key, each in google_project_iam_member.uses_database : "${key}_uses_database" => each.id },
    { for key, each in google_project_iam_member.writes_traces : "${key}_writes_traces" => each.id },
    { for key, each in google_service_account_iam_member.signs_tokens : "signs_tokens_${key}" => each.id },
    { for key, each in google_secret_manager_secret_iam_member.sender_reads : "reads_${key}" => each.id },
  )
}
