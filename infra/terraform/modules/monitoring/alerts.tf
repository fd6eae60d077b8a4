# Alerts. docs/operating.md says what to do about each, under the alert's key.
#
# Conditions are in PromQL, because there "or vector(0)" makes a series that does not exist a zero: a system that has never
# worked has none, and must be noticed as well as one that has stopped. A condition of the other kind, with missing data,
# only notices what has stopped. https://cloud.google.com/monitoring/promql/promql-mapping has the metrics' names.

locals {
  # Labels that select the series of Google's metrics.
  series = merge(
    {
      for subscription in ["dead_letter", "dead_event", "events"] :
      subscription => "monitored_resource=\"pubsub_subscription\",subscription_id=\"${var.resources["${subscription}_subscription"]}\""
    },
    { dispatcher = "monitored_resource=\"cloud_run_revision\",service_name=\"${var.resources.dispatcher}\"" },
  )

  # Those of each lane's subscription, and of the log entries' metrics of its sender.
  lane_series  = { for lane, each in local.lanes : lane => "monitored_resource=\"pubsub_subscription\",subscription_id=\"${each.subscription}\"" }
  lane_senders = { for lane, each in local.lanes : lane => "${local.sender_label}=\"${each.sender}\"" }

  # Whether messages of a lane wait and none of its mails was sent.
  stalled_lanes = [
    for lane, series in local.lane_series : join("\n        ", [
      "((max(min_over_time(${local.waiting}{${series}}[10m])) or vector(0)) > ${var.alerts.stalled_backlog}",
      "and (sum(increase(${local.logged.attempts},${local.lane_senders[lane]},after=\"SUCCESS\"}[10m])) or vector(0)) < 1)",
    ])
  ]

  # Those of the log entries' metrics, which are this installation's alone: `name{monitored_resource="…"`, to be closed.
  logged = {
    for key, metric in local.log_metrics :
    key => "logging_googleapis_com:user_${replace(google_logging_metric.this[key].name, "/[^a-zA-Z0-9_]/", "_")}{monitored_resource=\"${local.monitored[metric.service]}\""
  }

  waiting = "pubsub_googleapis_com:subscription_num_undelivered_messages"
  oldest  = "pubsub_googleapis_com:subscription_oldest_unacked_message_age"

  # Faults of the mail server or the login, not of a single mail.
  server_faults = "after!=\"SUCCESS\",reason=~\"auth|connection|temporary|throttled\""

  # Minutes within which at least one run of the reconciler should have ended.
  silent_minutes = 2 * var.resources.reconcile_minutes + 3

  # `minutes`: how long the query must hold.
  alerts = {
    backlog-age = {
      title    = "mail waits too long"
      severity = "CRITICAL"
      text     = "The oldest message of the mail subscription has waited for more than ${var.alerts.backlog_seconds} s${length(local.lanes) == 1 ? "" : ", or that of another lane for more than ${var.alerts.lane_backlog_seconds} s"}: mail arrives faster than it is sent, or is not sent at all."
      minutes  = 5
      query = join("\nor\n", [
        for lane, series in local.lane_series :
        "max(${local.oldest}{${series}}) > ${lane == "default" ? var.alerts.backlog_seconds : var.alerts.lane_backlog_seconds}"
      ])
    }

    dead-letters = {
      title    = "dead letters are waiting"
      severity = "ERROR"
      text     = "Some messages could not be processed. They wait in ${var.resources.dead_letter_subscription} for ${var.resources.dead_letter_retention_days} days. The alert ends when they are replayed or purged."
      minutes  = 1
      query    = "max(${local.waiting}{${local.series.dead_letter}}) > 0"
    }

    error-ratio = {
      title    = "many mails end in ERROR"
      severity = "ERROR"
      text     = "More than ${var.alerts.error_ratio * 100} % of the attempts within ten minutes ended in ERROR. The chart of failed attempts by class shows the causes."
      minutes  = 1
      query    = <<-EOT
        sum(increase(${local.logged.attempts},after="ERROR"}[10m])) > ${var.alerts.error_ratio} * sum(increase(${local.logged.attempts}}[10m]))
        and sum(increase(${local.logged.attempts}}[10m])) >= ${var.alerts.error_ratio_attempts}
      EOT
    }

    partial-rejections = {
      title    = "mail does not get to all recipients"
      severity = "WARNING"
      text     = "More than ${var.alerts.partial_ratio * 100} % of the mails sent within an hour were refused or put off for some of their recipients."
      minutes  = 1
      query    = <<-EOT
        sum(increase(${local.logged.partial_successes}}[1h])) > ${var.alerts.partial_ratio} * sum(increase(${local.logged.attempts},after="SUCCESS"}[1h]))
        and sum(increase(${local.logged.attempts},after="SUCCESS"}[1h])) >= ${var.alerts.error_ratio_attempts}
      EOT
    }

    lease-expiries = {
      title    = "leases expire"
      severity = "ERROR"
      text     = "Senders die or hang during attempts: more than ${var.alerts.lease_expiries} leases were found expired within ten minutes. Whether those mails were sent is unknown."
      minutes  = 1
      query    = <<-EOT
        (sum(increase(${local.logged.messages},reason="lease-expired"}[10m])) or vector(0))
        + (sum(increase(${local.logged.reconciliations},reason="lease-expired"}[10m])) or vector(0))
        > ${var.alerts.lease_expiries}
      EOT
    }

    reconciler-silent = {
      title    = "the reconciler does not run"
      severity = "CRITICAL"
      text     = "No run of the reconciler has ended for ${local.silent_minutes + 5} minutes: scheduled and retried mails wait, and documents whose sender died stay in PROCESSING."
      minutes  = 5
      query    = "(sum(increase(${local.logged.reconciler_runs}}[${local.silent_minutes}m])) or vector(0)) < 1"
    }

    paused = {
      title    = "mail has been paused for a day"
      severity = "WARNING"
      text     = "Mail, or that of a transport or lane, has been paused for a day or longer. Perhaps somebody has forgotten to resume it."
      minutes  = 1
      query    = "sum(increase(${local.logged.pauses},pause=\"long\"}[${local.silent_minutes}m])) > 0"
    }

    stalled = {
      title    = "mail waits and none is sent"
      severity = "CRITICAL"
      text     = "More than ${var.alerts.stalled_backlog} messages have waited for ten minutes and no mail was sent; or within an hour at least ${var.alerts.stalled_attempts} attempts met a fault of the mail server or were put off, and none succeeded."
      minutes  = 1
      query    = <<-EOT
        ${join("\n        or ", local.stalled_lanes)}
        or
        (
          (sum(increase(${local.logged.attempts},${local.server_faults}}[1h])) or vector(0))
          + (sum(increase(${local.logged.deferrals},reason="deferred"}[1h])) or vector(0))
          + (sum(increase(${local.logged.deferrals},reason="outage"}[1h])) or vector(0))
          >= ${var.alerts.stalled_attempts}
          and (sum(increase(${local.logged.attempts},after="SUCCESS"}[1h])) or vector(0)) < 1
        )
      EOT
    }

    outage = {
      title    = "a mail server is out"
      severity = "CRITICAL"
      text     = "A mail server can't be reached, or refuses the login. Its mails go through another transport, if it has FAILOVER; otherwise they wait for it, an hour by default (OUTAGE_PATIENCE), or five minutes for a refused login, and then end in ERROR."
      minutes  = 1
      query    = <<-EOT
        (sum(increase(${local.logged.deferrals},reason="outage"}[15m])) or vector(0))
        + (sum(increase(${local.logged.failovers}}[15m])) or vector(0))
        >= ${var.alerts.stalled_attempts}
      EOT
    }

    # Cloud Run does not count requests that it refused itself, for lack of permissions or instances: so the age counts, too.
    events-failing = {
      title    = "document events can't be handled"
      severity = "CRITICAL"
      text     = "The dispatcher answers events with 5xx, or they don't get to it, or some were given up and wait in ${var.resources.dead_event_subscription}. Their documents have no delivery, and are not sent."
      minutes  = 5
      query    = <<-EOT
        sum(increase(run_googleapis_com:request_count{${local.series.dispatcher},response_code_class="5xx"}[5m])) > 10
        or max(${local.oldest}{${local.series.events}}) > ${var.alerts.backlog_seconds}
        or max(${local.waiting}{${local.series.dead_event}}) > 0
      EOT
    }
  }

  alert_texts = merge(
    { for key, each in local.alerts : key => each.text },
    { slo-burn = "Mail is accepted so late that the objective's error budget is used up ${var.alerts.burn_rate} times as fast as it may be." },
  )

  # What each alert's notification says.
  documentation = {
    for key, text in local.alert_texts : key => join("\n\n", [
      text, var.runbook_url == null ? "What to do: docs/operating.md, section ${key}." : "[What to do](${var.runbook_url}#${key})",
    ])
  }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  severity              = each.value.severity
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: ${each.value.title}"
    content   = local.documentation[each.key]
  }

  conditions {
    display_name = each.value.title

    condition_prometheus_query_language {
      query                     = trimspace(each.value.query)
      duration                  = "${each.value.minutes * 60}s"
      evaluation_interval       = "60s"
      disable_metric_validation = true # a new metric can't be found for some minutes
    }
  }
}

# Monitoring's own function for objectives, which PromQL has not.
resource "google_monitoring_alert_policy" "slo_burn" {
  project               = var.project
  display_name          = "${var.name}: mail is accepted late"
  severity              = "WARNING"
  combiner              = "OR"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: mail is accepted late"
    content   = local.documentation["slo-burn"]
  }

  conditions {
    display_name = "burn rate"

    condition_threshold {
      filter          = "select_slo_burn_rate(\"${google_monitoring_slo.time_to_accept.name}\", \"3600s\")"
      comparison      = "COMPARISON_GT"
      threshold_value = var.alerts.burn_rate
      duration        = "0s"
    }
  }
}
