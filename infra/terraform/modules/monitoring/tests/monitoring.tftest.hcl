# Alerts, dashboard and objective of a deployment. A run takes a second, so what does not affect each other shares one.

mock_provider "google" {}

mock_provider "time" {}

variables {
  project = "shop-production"

  resources = {
    database                   = "(default)"
    dispatcher                 = "firepost-dispatcher"
    sender                     = "firepost-sender"
    sender_is_worker_pool      = false
    mail_subscription          = "firepost-mail-sender"
    dead_letter_subscription   = "firepost-mail-dead-letter-pull"
    dead_event_subscription    = "firepost-document-events-dead-letter-pull"
    dead_letter_retention_days = 14
    events_subscription        = "eventarc-eur3-firepost-documents-sub-123"
    reconcile_minutes          = 1
  }
}

run "an_alert_says_what_to_do_what_is_wrong_is_noticed_and_the_dashboard_has_filters" {
  variables {
    notification_channels = ["projects/shop-production/notificationChannels/1"]
    runbook_url           = "https://example.com/docs/operating.md"
  }

  # An alert says what to do and links to it.
  assert {
    condition = alltrue([
      for key, each in merge(google_monitoring_alert_policy.this, { slo-burn = google_monitoring_alert_policy.slo_burn }) :
      each.severity != null && each.notification_channels == tolist(var.notification_channels) &&
      endswith(each.documentation[0].content, "\n\n[What to do](https://example.com/docs/operating.md#${key})")
    ])
    error_message = "An alert must have a severity and recipients, and link to its section of the runbook."
  }

  assert {
    condition     = google_monitoring_slo.time_to_accept.request_based_sli[0].distribution_cut[0].range[0].max == 60000
    error_message = "The objective must be cut at slo.seconds, in milliseconds."
  }

  assert {
    condition     = time_sleep.metrics.triggers == tomap({ time_to_accept = google_logging_metric.this["time_to_accept"].id })
    error_message = "The objective must wait for its metric, and only when that is new."
  }

  # A system that never worked raises alerts.
  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["reconciler-silent"].conditions[0].condition_prometheus_query_language[0].query, "(sum(increase(logging_googleapis_com:user_firepost_reconciler_runs{monitored_resource=\"cloud_run_revision\"}[5m])) or vector(0)) < 1")
    error_message = "No run ever must count as no run."
  }

  assert {
    condition     = length(regexall("SUCCESS\"}\\[(10m|1h)]\\)\\) or vector\\(0\\)\\) < 1", google_monitoring_alert_policy.this["stalled"].conditions[0].condition_prometheus_query_language[0].query)) == 2
    error_message = "No mail ever sent must count as none sent, with and without a backlog."
  }

  assert {
    condition     = alltrue([for each in google_monitoring_alert_policy.this : each.conditions[0].condition_prometheus_query_language[0].disable_metric_validation])
    error_message = "An alert must not fail because its metric is new."
  }

  # A pause that lasts is noticed.
  assert {
    condition     = endswith(google_logging_metric.this["pauses"].filter, "jsonPayload.event=\"reconciler-run\" AND jsonPayload.pause:*")
    error_message = "Only runs during a pause must count."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["paused"].conditions[0].condition_prometheus_query_language[0].query, "pause=\"long\"}[5m])) > 0")
    error_message = "The alert must be about long pauses, and end with them."
  }

  # Few attempts suffice for a ratio.
  assert {
    condition     = alltrue([for alert in ["error-ratio", "partial-rejections"] : endswith(google_monitoring_alert_policy.this[alert].conditions[0].condition_prometheus_query_language[0].query, ">= 20")])
    error_message = "At least alerts.error_ratio_attempts, not more."
  }

  # Mails that some recipients did not get are noticed.
  assert {
    condition     = endswith(google_logging_metric.this["partial_successes"].filter, "jsonPayload.event=\"attempt\" AND jsonPayload.rejected:*")
    error_message = "Only the entries of such mails must count."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["partial-rejections"].conditions[0].condition_prometheus_query_language[0].query, "> 0.05 * sum(increase(logging_googleapis_com:user_firepost_attempts{monitored_resource=\"cloud_run_revision\",after=\"SUCCESS\"}[1h]))")
    error_message = "They must be held against the mails that were sent."
  }

  # Events that never arrive are noticed.
  assert {
    condition = alltrue([
      for part in ["oldest_unacked_message_age{monitored_resource=\"pubsub_subscription\",subscription_id=\"eventarc-eur3-firepost-documents-sub-123\"}", "num_undelivered_messages{monitored_resource=\"pubsub_subscription\",subscription_id=\"firepost-document-events-dead-letter-pull\"}"] :
      strcontains(google_monitoring_alert_policy.this["events-failing"].conditions[0].condition_prometheus_query_language[0].query, part)
    ])
    error_message = "Events that wait in the trigger's own subscription, or that were given up, must raise an alert."
  }

  # The dashboard has filters, and nothing that the API drops.
  assert {
    condition = alltrue(flatten([
      for widget in jsondecode(google_monitoring_dashboard.this.dashboard_json).gridLayout.widgets : [
        for line in widget.xyChart.dataSets : can(regex("metric.type=\"[^\"]+\" .*resource.type=\"[^\"]+\"", line.timeSeriesQuery.timeSeriesFilter.filter))
      ]
    ]))
    error_message = "Each line of the dashboard must name a metric and a resource."
  }

  assert {
    condition     = !can(regex(":(\\[\\]|\\{\\}|\"\"|null)", google_monitoring_dashboard.this.dashboard_json))
    error_message = "An empty list, object or text is dropped by the API, so that each plan shows a change."
  }
}

run "each_lane_is_watched_and_a_reconciler_that_is_called_seldom_is_not_silent" {
  command = plan

  variables {
    resources = merge(var.resources, {
      lanes             = { bulk = { sender = "firepost-sender-bulk", subscription = "firepost-mail-sender-bulk" } }
      reconcile_minutes = 30
    })
  }

  # Each lane is watched.
  assert {
    condition     = strcontains(google_logging_metric.this["attempts"].filter, "resource.labels.service_name=(\"firepost-sender-bulk\" OR \"firepost-sender\")")
    error_message = "The attempts of all senders must count."
  }

  assert {
    condition = alltrue([
      for part in ["subscription_id=\"firepost-mail-sender\"}) > 300", "subscription_id=\"firepost-mail-sender-bulk\"}) > 3600"] :
      strcontains(google_monitoring_alert_policy.this["backlog-age"].conditions[0].condition_prometheus_query_language[0].query, part)
    ])
    error_message = "Mails of a lane may wait longer than others, but not for ever."
  }

  assert {
    condition = alltrue([
      for part in ["subscription_id=\"firepost-mail-sender-bulk\"}[10m]", "service_name=\"firepost-sender-bulk\",after=\"SUCCESS\"}[10m]"] :
      strcontains(google_monitoring_alert_policy.this["stalled"].conditions[0].condition_prometheus_query_language[0].query, part)
    ])
    error_message = "A lane that stands still must be noticed while others move."
  }

  assert {
    condition     = endswith(google_monitoring_slo.time_to_accept.request_based_sli[0].distribution_cut[0].distribution_filter, "resource.label.service_name=\"firepost-sender\"")
    error_message = "The objective must be about the default lane."
  }

  assert {
    condition     = strcontains(google_monitoring_dashboard.this.dashboard_json, "subscription_id=one_of(\\\"firepost-mail-sender-bulk\\\",\\\"firepost-mail-sender\\\")")
    error_message = "The dashboard must show all lanes."
  }

  # A reconciler that is called seldom is not silent.
  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["reconciler-silent"].conditions[0].condition_prometheus_query_language[0].query, "[63m]") && strcontains(google_monitoring_alert_policy.this["reconciler-silent"].documentation[0].content, "for 68 minutes")
    error_message = "The alert must allow for the schedule."
  }
}

run "a_worker_pool_is_watched_as_one" {
  command = plan

  variables {
    name      = "acme-mail"
    labels    = { team = "shop" }
    resources = merge(var.resources, { sender = "acme-mail-sender", sender_is_worker_pool = true })
  }

  assert {
    condition     = strcontains(google_logging_metric.this["attempts"].filter, "resource.labels.worker_pool_name=(\"acme-mail-sender\")") && google_logging_metric.this["attempts"].name == "acme-mail/attempts"
    error_message = "The sender's metrics must be counted where its entries come from."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["stalled"].conditions[0].condition_prometheus_query_language[0].query, "logging_googleapis_com:user_acme_mail_attempts{monitored_resource=\"cloud_run_worker_pool\",after=\"SUCCESS\"}")
    error_message = "Alerts must use the metric's name as PromQL writes it, and its resource."
  }

  assert {
    condition     = strcontains(google_monitoring_dashboard.this.dashboard_json, "resource.label.worker_pool_name") && !strcontains(google_monitoring_dashboard.this.dashboard_json, "Pushes")
    error_message = "The dashboard must show the pool, and no pushes."
  }

  assert {
    condition = alltrue([
      for labels in concat(
        [google_monitoring_custom_service.mail.user_labels, google_monitoring_slo.time_to_accept.user_labels, google_monitoring_alert_policy.slo_burn.user_labels],
        [for each in google_monitoring_alert_policy.this : each.user_labels],
        [tomap(jsondecode(google_monitoring_dashboard.this.dashboard_json).labels)],
      ) : labels == tomap({ app = "acme-mail", team = "shop" })
    ])
    error_message = "All that can have labels must have them."
  }

  assert {
    condition     = alltrue([for each in google_monitoring_alert_policy.this : strcontains(each.documentation[0].content, "docs/operating.md, section")])
    error_message = "Without runbook_url, alerts must name the section, and not link to nowhere."
  }
}

run "people_who_are_notified_without_a_runbook" {
  command         = plan
  expect_failures = [var.runbook_url, var.slo]

  variables {
    notification_channels = ["projects/shop-production/notificationChannels/1"]
    slo                   = { seconds = 45 } # between two buckets
  }
}

run "a_runbook_that_is_no_address" {
  command         = plan
  expect_failures = [var.runbook_url]

  variables {
    runbook_url = "docs/operating.md"
  }
}
