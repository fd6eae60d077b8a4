# Metrics from the services' log entries, defined in log_metrics.json, which a test compares with what the code logs:
# `event` is the entries' field with that name; `value`, `labels` and `having` are other fields, and only entries that have
# `value` and `having` count.

locals {
  log_metrics = jsondecode(file("${path.module}/log_metrics.json"))

  sender_resource = var.resources.sender_is_worker_pool ? "cloud_run_worker_pool" : "cloud_run_revision"
  sender_label    = var.resources.sender_is_worker_pool ? "worker_pool_name" : "service_name"

  # The monitored resource of each service's entries and metrics.
  monitored = { dispatcher = "cloud_run_revision", sender = local.sender_resource }

  # The entries' origin, as a Cloud Logging filter.
  log_sources = {
    dispatcher = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${var.resources.dispatcher}\""
    sender     = "resource.type=\"${local.sender_resource}\" AND resource.labels.${local.sender_label}=(${join(" OR ", [for lane in local.lanes : "\"${lane.sender}\""])})"
  }

  # Each metric's filter in Cloud Monitoring, which requires the resource's type.
  metric_filters = {
    for key, metric in local.log_metrics : key => join(" ", [
      "metric.type=\"logging.googleapis.com/user/${google_logging_metric.this[key].name}\"",
      "resource.type=\"${local.monitored[metric.service]}\"",
    ])
  }

  # The SLO's threshold must be one of these, so that each mail is clearly on one side.
  latency_bounds_ms = [
    5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000,
    21600000, 86400000,
  ]
}

resource "google_logging_metric" "this" {
  for_each = local.log_metrics

  project     = var.project
  name        = "${var.name}/${each.key}"
  description = each.value.description

  filter = join(" AND ", concat(
    [local.log_sources[each.value.service], "jsonPayload.event=\"${each.value.event}\""],
    [for field in ["value", "having"] : "jsonPayload.${each.value[field]}:*" if can(each.value[field])],
  ))

  value_extractor  = can(each.value.value) ? "EXTRACT(jsonPayload.${each.value.value})" : null
  label_extractors = { for label in each.value.labels : label => "EXTRACT(jsonPayload.${label})" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = can(each.value.value) ? "DISTRIBUTION" : "INT64"
    unit        = can(each.value.value) ? "ms" : "1"

    dynamic "labels" {
      for_each = toset(each.value.labels)

      content {
        key = labels.key
      }
    }
  }

  dynamic "bucket_options" {
    for_each = can(each.value.value) ? [local.latency_bounds_ms] : []

    content {
      explicit_buckets {
        bounds = bucket_options.value
      }
    }
  }
}

# What refers to a new metric too early is refused: according to Google's message, it may take ten minutes. Alerts in PromQL
# may name it before; the objective may not.
resource "time_sleep" "metrics" {
  create_duration = "600s"
  triggers        = { time_to_accept = google_logging_metric.this["time_to_accept"].id }
}
