# One page that shows how the mail is doing: from what users notice, over what waits, to what it runs on.

locals {
  sender_filter   = "resource.type=\"${local.sender_resource}\" resource.label.${local.pulls ? "worker_pool_name" : "service_name"}=\"${var.name}-sender\""
  database_filter = "resource.type=\"firestore.googleapis.com/Database\" resource.label.database_id=\"${var.database.id}\""

  percentiles = { p50 = "REDUCE_PERCENTILE_50", p95 = "REDUCE_PERCENTILE_95", p99 = "REDUCE_PERCENTILE_99" }

  # Each chart has lines; a line is a filter, how a series is aligned, how series are put together, and by which label.
  charts = concat(
    [
      {
        title = "Attempts by outcome"
        unit  = "per second"
        lines = [{ filter = local.metric_filters.attempts, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.after" }]
      },
      {
        title = "Failed attempts by class"
        unit  = "per second"
        lines = [{ filter = "${local.metric_filters.attempts} metric.label.after!=\"SUCCESS\"", align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.reason" }]
      },
      {
        title = "From queued to accepted"
        unit  = "ms"
        lines = [for name, reducer in local.percentiles : { filter = local.metric_filters.time_to_accept, align = "ALIGN_DELTA", reduce = reducer, legend = name }]
      },
      {
        title = "Messages that wait"
        unit  = "messages"
        lines = [{ filter = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" ${local.mail_subscription_filter}", align = "ALIGN_MAX", reduce = "REDUCE_SUM" }]
      },
      {
        title = "Age of the oldest message"
        unit  = "s"
        lines = [{ filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" ${local.mail_subscription_filter}", align = "ALIGN_MAX", reduce = "REDUCE_MAX" }]
      },
      {
        title = "Dead letters that wait"
        unit  = "messages"
        lines = [{ filter = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" ${local.dead_letters_filter}", align = "ALIGN_MAX", reduce = "REDUCE_SUM" }]
      },
      {
        title = "New dead letters by reason"
        unit  = "per second"
        lines = [
          { filter = "metric.type=\"pubsub.googleapis.com/subscription/dead_letter_message_count\" ${local.mail_subscription_filter}", align = "ALIGN_RATE", reduce = "REDUCE_SUM", legend = "given up by Pub/Sub" },
          { filter = local.metric_filters.refusals, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.reason", legend = "refused" },
          { filter = local.metric_filters.dead_letters, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.reason", legend = "recorded" },
        ]
      },
      {
        title = "Sending: time with the mail server"
        unit  = "ms"
        lines = [for name, reducer in local.percentiles : { filter = local.metric_filters.send_duration, align = "ALIGN_DELTA", reduce = reducer, legend = name }]
      },
      {
        title = "Whole attempts, p95 by outcome"
        unit  = "ms"
        lines = [{ filter = local.metric_filters.attempt_duration, align = "ALIGN_DELTA", reduce = "REDUCE_PERCENTILE_95", by = "metric.label.after" }]
      },
      {
        title = "SMTP connections opened (replaced: a kept one had died)"
        unit  = "per second"
        lines = [{ filter = local.metric_filters.connections, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.replaced" }]
      },
      {
        title = "Expired leases"
        unit  = "per second"
        lines = [
          { filter = "${local.metric_filters.messages} metric.label.reason=\"lease-expired\"", align = "ALIGN_RATE", reduce = "REDUCE_SUM", legend = "found by a sender" },
          { filter = "${local.metric_filters.reconciliations} metric.label.reason=\"lease-expired\"", align = "ALIGN_RATE", reduce = "REDUCE_SUM", legend = "found by the reconciler" },
        ]
      },
      {
        title = "Messages without an attempt, by reason"
        unit  = "per second"
        lines = [{ filter = local.metric_filters.messages, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.reason" }]
      },
      {
        title = "Attempts put off or given back"
        unit  = "per second"
        lines = [{ filter = local.metric_filters.deferrals, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.reason" }]
      },
      {
        title = "Document events by decision"
        unit  = "per second"
        lines = [{ filter = local.metric_filters.changes, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.reason" }]
      },
      {
        title = "Document events: time each takes"
        unit  = "ms"
        lines = [for name, reducer in local.percentiles : { filter = local.metric_filters.change_duration, align = "ALIGN_DELTA", reduce = reducer, legend = name }]
      },
      {
        title = "The dispatcher's answers"
        unit  = "per second"
        lines = [{ filter = "metric.type=\"run.googleapis.com/request_count\" ${local.dispatcher_filter}", align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.response_code" }]
      },
      {
        title = "Reconciler: runs, and whether complete"
        unit  = "per second"
        lines = [{ filter = local.metric_filters.reconciler_runs, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.complete" }]
      },
      {
        title = "Reconciler: what it did"
        unit  = "per second"
        lines = [{ filter = local.metric_filters.reconciliations, align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.reason" }]
      },
    ],
    local.pulls ? [] : [
      {
        title = "Pushes by answer"
        unit  = "per second"
        lines = [{ filter = "metric.type=\"pubsub.googleapis.com/subscription/push_request_count\" ${local.mail_subscription_filter}", align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.response_code" }]
      },
      {
        title = "Pushes: time until the answer"
        unit  = "µs"
        lines = [for name, reducer in local.percentiles : { filter = "metric.type=\"pubsub.googleapis.com/subscription/push_request_latencies\" ${local.mail_subscription_filter}", align = "ALIGN_DELTA", reduce = reducer, legend = name }]
      },
    ],
    [
      {
        title = "Instances"
        unit  = "instances"
        lines = [for service, filter in { dispatcher = local.dispatcher_filter, sender = local.sender_filter } : { filter = "metric.type=\"run.googleapis.com/container/instance_count\" ${filter}", align = "ALIGN_MAX", reduce = "REDUCE_SUM", by = "metric.label.state", legend = service }]
      },
      {
        title = "CPU in use, p95"
        unit  = "share"
        lines = [for service, filter in { dispatcher = local.dispatcher_filter, sender = local.sender_filter } : { filter = "metric.type=\"run.googleapis.com/container/cpu/utilizations\" ${filter}", align = "ALIGN_DELTA", reduce = "REDUCE_PERCENTILE_95", legend = service }]
      },
      {
        title = "Memory in use, p95"
        unit  = "share"
        lines = [for service, filter in { dispatcher = local.dispatcher_filter, sender = local.sender_filter } : { filter = "metric.type=\"run.googleapis.com/container/memory/utilizations\" ${filter}", align = "ALIGN_DELTA", reduce = "REDUCE_PERCENTILE_95", legend = service }]
      },
      {
        title = "Firestore: documents read and written in the database"
        unit  = "per second"
        lines = [
          { filter = "metric.type=\"firestore.googleapis.com/document/read_ops_count\" ${local.database_filter}", align = "ALIGN_RATE", reduce = "REDUCE_SUM", legend = "read" },
          { filter = "metric.type=\"firestore.googleapis.com/document/write_ops_count\" ${local.database_filter}", align = "ALIGN_RATE", reduce = "REDUCE_SUM", legend = "written" },
        ]
      },
      {
        title = "Firestore: requests by answer"
        unit  = "per second"
        lines = [{ filter = "metric.type=\"firestore.googleapis.com/api/request_count\" ${local.database_filter}", align = "ALIGN_RATE", reduce = "REDUCE_SUM", by = "metric.label.response_code" }]
      },
    ],
  )
}

resource "google_monitoring_dashboard" "this" {
  project = var.project

  dashboard_json = jsonencode({
    displayName = "Firepost: ${var.name}"
    labels      = { firepost = "" }
    gridLayout = {
      columns = "3"
      widgets = [for chart in local.charts : {
        title = chart.title
        xyChart = {
          yAxis = { label = chart.unit, scale = "LINEAR" }
          dataSets = [for line in chart.lines : merge(
            {
              plotType = "LINE"
              timeSeriesQuery = {
                timeSeriesFilter = {
                  filter = line.filter
                  aggregation = {
                    alignmentPeriod    = "60s"
                    perSeriesAligner   = line.align
                    crossSeriesReducer = line.reduce
                    groupByFields      = can(line.by) ? [line.by] : []
                  }
                }
              }
            },
            can(line.legend) ? { legendTemplate = join(" ", concat([line.legend], can(line.by) ? ["$${${replace(line.by, "label", "labels")}}"] : [])) } : {},
          )]
        }
      }]
    }
  })

  depends_on = [google_project_service.this]
}
