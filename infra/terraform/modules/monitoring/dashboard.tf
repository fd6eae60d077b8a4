# One dashboard: first what users notice, then backlogs, then infrastructure.

locals {
  mail_subscription_filter = "resource.type=\"pubsub_subscription\" resource.label.subscription_id=one_of(${join(",", [for lane in local.lanes : "\"${lane.subscription}\""])})"
  dead_letters_filter      = "resource.type=\"pubsub_subscription\" resource.label.subscription_id=\"${var.resources.dead_letter_subscription}\""
  dead_events_filter       = "resource.type=\"pubsub_subscription\" resource.label.subscription_id=\"${var.resources.dead_event_subscription}\""
  events_filter            = "resource.type=\"pubsub_subscription\" resource.label.subscription_id=\"${var.resources.events_subscription}\""
  dispatcher_filter        = "resource.type=\"cloud_run_revision\" resource.label.service_name=\"${var.resources.dispatcher}\""
  sender_filter            = "resource.type=\"${local.sender_resource}\" resource.label.${local.sender_label}=one_of(${join(",", [for lane in local.lanes : "\"${lane.sender}\""])})"
  database_filter          = "resource.type=\"firestore.googleapis.com/Database\" resource.label.database_id=\"${var.resources.database}\""
  service_filters          = { dispatcher = local.dispatcher_filter, sender = local.sender_filter }

  # Aggregation of a line: each series' points within a minute, then all series.
  looks = {
    rate    = { align = "ALIGN_RATE", reduce = "REDUCE_SUM" }
    total   = { align = "ALIGN_MAX", reduce = "REDUCE_SUM" }
    highest = { align = "ALIGN_MAX", reduce = "REDUCE_MAX" }
    p50     = { align = "ALIGN_DELTA", reduce = "REDUCE_PERCENTILE_50" }
    p95     = { align = "ALIGN_DELTA", reduce = "REDUCE_PERCENTILE_95" }
    p99     = { align = "ALIGN_DELTA", reduce = "REDUCE_PERCENTILE_99" }
  }
  percentiles = ["p50", "p95", "p99"]

  # `by` a label: one line per value.
  charts = concat(
    [
      {
        title = "Attempts by outcome"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.attempts, by = "metric.label.after" },
        ]
      },
      {
        title = "Failed attempts by class"
        unit  = "per second"
        lines = [
          {
            look   = "rate"
            filter = "${local.metric_filters.attempts} metric.label.after!=\"SUCCESS\""
            by     = "metric.label.reason"
          },
        ]
      },
      {
        title = "Mails that some recipients did not get"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.partial_successes },
        ]
      },
      {
        title = "From queued to accepted"
        unit  = "ms"
        lines = [for look in local.percentiles : { look = look, filter = local.metric_filters.time_to_accept, legend = look }]
      },
      {
        title = "Waiting messages"
        unit  = "messages"
        lines = [
          {
            look   = "total"
            filter = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" ${local.mail_subscription_filter}"
            by     = "resource.label.subscription_id"
          },
        ]
      },
      {
        title = "Age of the oldest message"
        unit  = "s"
        lines = [
          {
            look   = "highest"
            filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" ${local.mail_subscription_filter}"
            by     = "resource.label.subscription_id"
          },
        ]
      },
      {
        title = "Waiting dead letters"
        unit  = "messages"
        lines = [
          {
            look   = "total"
            filter = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" ${local.dead_letters_filter}"
            legend = "mail"
          },
          {
            look   = "total"
            filter = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" ${local.dead_events_filter}"
            legend = "document events"
          },
        ]
      },
      {
        title = "New dead letters by reason"
        unit  = "per second"
        lines = [
          {
            look   = "rate"
            filter = "metric.type=\"pubsub.googleapis.com/subscription/dead_letter_message_count\" ${local.mail_subscription_filter}"
            legend = "given up by Pub/Sub"
          },
          { look = "rate", filter = local.metric_filters.refusals, by = "metric.label.reason", legend = "refused" },
          {
            look   = "rate"
            filter = local.metric_filters.dead_letters
            by     = "metric.label.reason"
            legend = "recorded"
          },
        ]
      },
      {
        title = "Sending: time with the mail server"
        unit  = "ms"
        lines = [for look in local.percentiles : { look = look, filter = local.metric_filters.send_duration, legend = look }]
      },
      {
        title = "Whole attempts, p95 by outcome"
        unit  = "ms"
        lines = [
          { look = "p95", filter = local.metric_filters.attempt_duration, by = "metric.label.after" },
        ]
      },
      {
        title = "SMTP connections opened (replaced: a kept one was dead), and refused as too many"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.connections, by = "metric.label.replaced" },
          { look = "rate", filter = local.metric_filters.connection_limits, by = "metric.label.reason" },
        ]
      },
      {
        title = "Expired leases"
        unit  = "per second"
        lines = [
          {
            look   = "rate"
            filter = "${local.metric_filters.messages} metric.label.reason=\"lease-expired\""
            legend = "found by a sender"
          },
          {
            look   = "rate"
            filter = "${local.metric_filters.reconciliations} metric.label.reason=\"lease-expired\""
            legend = "found by the reconciler"
          },
        ]
      },
      {
        title = "Messages without an attempt, by reason"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.messages, by = "metric.label.reason" },
        ]
      },
      {
        title = "Attempts deferred or released"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.deferrals, by = "metric.label.reason" },
        ]
      },
      {
        title = "Document events with an effect, by decision"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.changes, by = "metric.label.reason" },
        ]
      },
      {
        title = "Age of the oldest document event"
        unit  = "s"
        lines = [
          {
            look   = "highest"
            filter = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" ${local.events_filter}"
          },
        ]
      },
      {
        title = "Document events: processing time"
        unit  = "ms"
        lines = [for look in local.percentiles : { look = look, filter = local.metric_filters.change_duration, legend = look }]
      },
      {
        title = "Dispatcher: responses"
        unit  = "per second"
        lines = [
          {
            look   = "rate"
            filter = "metric.type=\"run.googleapis.com/request_count\" ${local.dispatcher_filter}"
            by     = "metric.label.response_code"
          },
        ]
      },
      {
        title = "Reconciler: runs, by completeness"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.reconciler_runs, by = "metric.label.complete" },
        ]
      },
      {
        title = "Reconciler: runs while mail was paused"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.pauses, by = "metric.label.pause" },
        ]
      },
      {
        title = "Reconciler: actions"
        unit  = "per second"
        lines = [
          { look = "rate", filter = local.metric_filters.reconciliations, by = "metric.label.reason" },
        ]
      },
    ],
    var.resources.sender_is_worker_pool ? [] : [
      {
        title = "Pushes by response"
        unit  = "per second"
        lines = [
          {
            look   = "rate"
            filter = "metric.type=\"pubsub.googleapis.com/subscription/push_request_count\" ${local.mail_subscription_filter}"
            by     = "metric.label.response_code"
          },
        ]
      },
      {
        title = "Pushes: response time"
        unit  = "µs"
        lines = [for look in local.percentiles : { look = look, filter = "metric.type=\"pubsub.googleapis.com/subscription/push_request_latencies\" ${local.mail_subscription_filter}", legend = look }]
      },
    ],
    [
      {
        title = "Instances"
        unit  = "instances"
        lines = [for service, filter in local.service_filters : {
          look   = "total"
          filter = "metric.type=\"run.googleapis.com/container/instance_count\" ${filter}"
          by     = "metric.label.state"
          legend = service
        }]
      },
      {
        title = "CPU in use, p95"
        unit  = "share"
        lines = [for service, filter in local.service_filters : {
          look   = "p95"
          filter = "metric.type=\"run.googleapis.com/container/cpu/utilizations\" ${filter}"
          legend = service
        }]
      },
      {
        title = "Memory in use, p95"
        unit  = "share"
        lines = [for service, filter in local.service_filters : {
          look   = "p95"
          filter = "metric.type=\"run.googleapis.com/container/memory/utilizations\" ${filter}"
          legend = service
        }]
      },
      {
        title = "Firestore: documents read and written in the database"
        unit  = "per second"
        lines = [
          {
            look   = "rate"
            filter = "metric.type=\"firestore.googleapis.com/document/read_ops_count\" ${local.database_filter}"
            legend = "read"
          },
          {
            look   = "rate"
            filter = "metric.type=\"firestore.googleapis.com/document/write_ops_count\" ${local.database_filter}"
            legend = "written"
          },
        ]
      },
      {
        title = "Firestore: requests by response"
        unit  = "per second"
        lines = [
          {
            look   = "rate"
            filter = "metric.type=\"firestore.googleapis.com/api/request_count\" ${local.database_filter}"
            by     = "metric.label.response_code"
          },
        ]
      },
    ],
  )

  widgets = [for chart in local.charts : {
    title = chart.title
    xyChart = {
      yAxis = { label = chart.unit, scale = "LINEAR" }
      # Without empty texts and lists: the API drops them, and each plan would want to add them again.
      dataSets = [for line in chart.lines : merge(
        {
          plotType = "LINE"
          timeSeriesQuery = {
            timeSeriesFilter = {
              filter = line.filter
              aggregation = merge(
                {
                  alignmentPeriod    = "60s"
                  perSeriesAligner   = local.looks[line.look].align
                  crossSeriesReducer = local.looks[line.look].reduce
                },
                can(line.by) ? { groupByFields = [line.by] } : {},
              )
            }
          }
        },
        !can(line.legend) && !can(line.by) ? {} : {
          legendTemplate = join(" ", concat(
            can(line.legend) ? [line.legend] : [],
            can(line.by) ? ["$${${replace(line.by, "label", "labels")}}"] : [],
          ))
        },
      )]
    }
  }]
}

resource "google_monitoring_dashboard" "this" {
  project = var.project

  dashboard_json = jsonencode({
    displayName = "Firepost: ${var.name}"
    labels      = local.labels
    gridLayout  = { columns = "3", widgets = local.widgets }
  })
}
