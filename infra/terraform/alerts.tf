# Alerts. docs/operating.md says what to do about each, under the alert's key.

locals {
  mail_subscription_filter = "resource.type=\"pubsub_subscription\" resource.label.subscription_id=\"${google_pubsub_subscription.mail.name}\""
  dead_letters_filter      = "resource.type=\"pubsub_subscription\" resource.label.subscription_id=\"${google_pubsub_subscription.dead_letters_pull.name}\""
  # Eventarc's own subscription, whose name is the location, the trigger's name and a number.
  events_filter     = "resource.type=\"pubsub_subscription\" resource.label.subscription_id=monitoring.regex.full_match(\"eventarc-${var.database.location}-${google_eventarc_trigger.documents.name}-sub-.*\")"
  dispatcher_filter = "resource.type=\"cloud_run_revision\" resource.label.service_name=\"${google_cloud_run_v2_service.dispatcher.name}\""

  # `period` is the interval of each data point, `duration` how long the threshold must be exceeded. Without `align`, the
  # filter's time series is used unchanged. `missing`: no data counts as exceeding the threshold.
  alerts = {
    backlog-age = {
      title    = "mail waits too long"
      severity = "CRITICAL"
      combiner = "OR"
      text     = "The oldest message of the mail subscription has waited for more than ${var.alerts.backlog_seconds} s: mail arrives faster than it is sent, or is not sent at all."
      conditions = [{
        title     = "age of the oldest message"
        filter    = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" ${local.mail_subscription_filter}"
        align     = "ALIGN_MAX"
        reduce    = "REDUCE_MAX"
        period    = 60
        threshold = var.alerts.backlog_seconds
        duration  = 300
      }]
    }

    dead-letters = {
      title    = "dead letters are waiting"
      severity = "ERROR"
      combiner = "OR"
      text     = "Some messages could not be processed. They wait in ${google_pubsub_subscription.dead_letters_pull.name} for ${var.dead_letter_retention_days} days. The alert ends when they are replayed or purged."
      conditions = [{
        title     = "dead letters"
        filter    = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" ${local.dead_letters_filter}"
        align     = "ALIGN_MAX"
        reduce    = "REDUCE_MAX"
        period    = 60
        threshold = 0
        duration  = 60
      }]
    }

    error-ratio = {
      title    = "many mails end in ERROR"
      severity = "ERROR"
      combiner = "AND"
      text     = "More than ${var.alerts.error_ratio * 100} % of the attempts within ten minutes ended in ERROR. The chart of failed attempts by class shows the causes."
      conditions = [
        {
          title       = "share of attempts that end in ERROR"
          filter      = "${local.metric_filters.attempts} metric.label.after=\"ERROR\""
          denominator = local.metric_filters.attempts
          align       = "ALIGN_DELTA"
          reduce      = "REDUCE_SUM"
          period      = 600
          threshold   = var.alerts.error_ratio
          duration    = 0
        },
        {
          title     = "enough attempts for a ratio"
          filter    = local.metric_filters.attempts
          align     = "ALIGN_DELTA"
          reduce    = "REDUCE_SUM"
          period    = 600
          threshold = var.alerts.error_ratio_attempts
          duration  = 0
        },
      ]
    }

    lease-expiries = {
      title    = "leases expire"
      severity = "ERROR"
      combiner = "OR"
      text     = "Senders die or hang during attempts: more than ${var.alerts.lease_expiries} leases were found expired within ten minutes. Whether those mails were sent is unknown."
      conditions = [
        {
          title     = "found by a sender"
          filter    = "${local.metric_filters.messages} metric.label.reason=\"lease-expired\""
          align     = "ALIGN_DELTA"
          reduce    = "REDUCE_SUM"
          period    = 600
          threshold = var.alerts.lease_expiries
          duration  = 0
        },
        {
          title     = "found by the reconciler"
          filter    = "${local.metric_filters.reconciliations} metric.label.reason=\"lease-expired\""
          align     = "ALIGN_DELTA"
          reduce    = "REDUCE_SUM"
          period    = 600
          threshold = var.alerts.lease_expiries
          duration  = 0
        },
      ]
    }

    reconciler-silent = {
      title    = "the reconciler does not run"
      severity = "CRITICAL"
      combiner = "OR"
      text     = "No run of the reconciler has ended for ten minutes: scheduled and retried mails wait, and documents whose sender died stay in PROCESSING."
      conditions = [{
        title     = "runs of the reconciler"
        filter    = local.metric_filters.reconciler_runs
        align     = "ALIGN_DELTA"
        reduce    = "REDUCE_SUM"
        below     = true
        missing   = true
        period    = 300
        threshold = 1
        duration  = 300
      }]
    }

    stalled = {
      title    = "mail waits and none is sent"
      severity = "CRITICAL"
      combiner = "AND"
      text     = "For ten minutes, more than ${var.alerts.stalled_backlog} messages have waited and no mail was sent."
      conditions = [
        {
          title     = "waiting messages"
          filter    = "metric.type=\"pubsub.googleapis.com/subscription/num_undelivered_messages\" ${local.mail_subscription_filter}"
          align     = "ALIGN_MIN"
          reduce    = "REDUCE_SUM"
          period    = 300
          threshold = var.alerts.stalled_backlog
          duration  = 300
        },
        {
          title     = "mails sent"
          filter    = "${local.metric_filters.attempts} metric.label.after=\"SUCCESS\""
          align     = "ALIGN_DELTA"
          reduce    = "REDUCE_SUM"
          below     = true
          missing   = true
          period    = 300
          threshold = 1
          duration  = 300
        },
      ]
    }

    events-failing = {
      title    = "document events can't be handled"
      severity = "CRITICAL"
      combiner = "OR"
      text     = "The dispatcher answers events with 5xx, or they don't get to it. Eventarc repeats them for 24 hours, then they are lost, and their documents stay without delivery."
      conditions = [
        {
          title     = "answers of class 5xx"
          filter    = "metric.type=\"run.googleapis.com/request_count\" ${local.dispatcher_filter} metric.label.response_code_class=\"5xx\""
          align     = "ALIGN_DELTA"
          reduce    = "REDUCE_SUM"
          period    = 300
          threshold = 10
          duration  = 300
        },
        {
          # Cloud Run does not count requests that it refused itself, for lack of permissions or instances.
          title     = "age of the oldest event"
          filter    = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" ${local.events_filter}"
          align     = "ALIGN_MAX"
          reduce    = "REDUCE_MAX"
          period    = 60
          threshold = var.alerts.backlog_seconds
          duration  = 300
        },
      ]
    }

    slo-burn = {
      title    = "mail is accepted late"
      severity = "WARNING"
      combiner = "OR"
      text     = "Mail is accepted so late that the objective's error budget is used up ${var.alerts.burn_rate} times as fast as it may be."
      conditions = [{
        title     = "burn rate"
        filter    = "select_slo_burn_rate(\"${google_monitoring_slo.time_to_accept.name}\", \"3600s\")"
        threshold = var.alerts.burn_rate
        duration  = 0
      }]
    }
  }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  severity              = each.value.severity
  combiner              = each.value.combiner
  notification_channels = var.notification_channels
  user_labels           = local.labels

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: ${each.value.title}"
    content   = "${each.value.text}\n\nWhat to do: ${var.runbook_url}#${each.key}"
  }

  dynamic "conditions" {
    for_each = each.value.conditions

    content {
      display_name = conditions.value.title

      condition_threshold {
        filter                  = conditions.value.filter
        comparison              = try(conditions.value.below, false) ? "COMPARISON_LT" : "COMPARISON_GT"
        threshold_value         = conditions.value.threshold
        duration                = "${conditions.value.duration}s"
        evaluation_missing_data = try(conditions.value.missing, false) ? "EVALUATION_MISSING_DATA_ACTIVE" : null
        denominator_filter      = try(conditions.value.denominator, null)

        dynamic "aggregations" {
          for_each = can(conditions.value.align) ? [conditions.value] : []

          content {
            alignment_period     = "${aggregations.value.period}s"
            per_series_aligner   = aggregations.value.align
            cross_series_reducer = aggregations.value.reduce
          }
        }

        dynamic "denominator_aggregations" {
          for_each = can(conditions.value.denominator) ? [conditions.value] : []

          content {
            alignment_period     = "${denominator_aggregations.value.period}s"
            per_series_aligner   = denominator_aggregations.value.align
            cross_series_reducer = denominator_aggregations.value.reduce
          }
        }
      }
    }
  }
}
