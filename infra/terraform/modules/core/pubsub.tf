# Topics and subscriptions. Who may publish and subscribe is in iam.tf.

locals {
  topics = merge(
    {
      mail         = "${var.name}-mail"
      dead_letters = "${var.name}-mail-dead-letter"
      dead_events  = "${var.name}-document-events-dead-letter" # what the dispatcher could not take (eventarc.tf)
    },
    var.lifecycle_events ? { lifecycle = "${var.name}-events" } : {},
  )
}

resource "google_pubsub_topic" "this" {
  # checkov:skip=CKV_GCP_83: encrypted with Google's keys unless kms_key is set; messages contain no more than documents do
  for_each = local.topics

  project = var.project
  name    = each.value
  labels  = local.labels

  kms_key_name = var.kms_key

  dynamic "message_storage_policy" {
    for_each = length(var.message_regions) == 0 ? [] : [var.message_regions]

    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }

  depends_on = [time_sleep.apis, time_sleep.key]
}

resource "google_pubsub_subscription" "dead_events_pull" {
  project = var.project
  name    = "${local.topics.dead_events}-pull"
  topic   = google_pubsub_topic.this["dead_events"].id
  labels  = local.labels

  ack_deadline_seconds       = 60
  message_retention_duration = "${var.dead_letter_retention_days * 86400}s"

  expiration_policy {
    ttl = ""
  }

  # For the day on which an operator makes it push to the dispatcher (docs/operating.md).
  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }
}

# The messages of each lane. Without a push endpoint, they wait to be pulled. A filter can't be changed: another one replaces
# the subscription, and what it held is published again by the reconciler (docs/lanes.md).
resource "google_pubsub_subscription" "mail" {
  for_each = local.senders

  project = var.project
  name    = each.value.subscription
  topic   = google_pubsub_topic.this["mail"].id
  filter  = each.value.filter
  labels  = local.labels

  ack_deadline_seconds       = var.ack_deadline_seconds
  message_retention_duration = "604800s" # a week; after that, the reconciler publishes again

  expiration_policy {
    ttl = "" # never
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "${var.max_backoff_seconds}s"
  }

  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.this["dead_letters"].id
    max_delivery_attempts = var.max_delivery_attempts
  }

  dynamic "push_config" {
    for_each = local.pulls ? [] : [google_cloud_run_v2_service.sender[each.key]]

    content {
      push_endpoint = "${push_config.value.uri}/"

      oidc_token {
        service_account_email = google_service_account.push.email
        audience              = push_config.value.uri
      }
    }
  }

  depends_on = [google_pubsub_topic_iam_member.forwards_dead_letters]
}

moved {
  from = google_pubsub_subscription.mail
  to   = google_pubsub_subscription.mail["default"]
}

# Dead letters go to two places: to the dispatcher, which records them on their documents …
resource "google_pubsub_subscription" "dead_letters_push" {
  project = var.project
  name    = "${local.topics.dead_letters}-documents"
  topic   = google_pubsub_topic.this["dead_letters"].id
  labels  = local.labels

  ack_deadline_seconds       = 60
  message_retention_duration = "${var.dead_letter_retention_days * 86400}s"

  expiration_policy {
    ttl = ""
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  push_config {
    push_endpoint = "${google_cloud_run_v2_service.dispatcher.uri}/dead-letters"

    oidc_token {
      service_account_email = google_service_account.push.email
      audience              = google_cloud_run_v2_service.dispatcher.uri
    }
  }
}

# … and to a subscription where an operator inspects and replays them.
resource "google_pubsub_subscription" "dead_letters_pull" {
  project = var.project
  name    = "${local.topics.dead_letters}-pull"
  topic   = google_pubsub_topic.this["dead_letters"].id
  labels  = local.labels

  ack_deadline_seconds       = 60
  message_retention_duration = "${var.dead_letter_retention_days * 86400}s"

  expiration_policy {
    ttl = ""
  }
}
