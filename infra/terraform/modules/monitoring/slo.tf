# The latency objective: the share of sent mails of the default lane that were accepted in time. Other lanes are for mails
# that may wait.

resource "google_monitoring_custom_service" "mail" {
  project      = var.project
  service_id   = "${var.name}-mail"
  display_name = "Firepost: ${var.name}"
  user_labels  = local.labels

  depends_on = [google_logging_metric.this] # made after the APIs are enabled
}

resource "google_monitoring_slo" "time_to_accept" {
  project             = var.project
  service             = google_monitoring_custom_service.mail.service_id
  slo_id              = "time-to-accept"
  display_name        = "${var.slo.goal * 100} % of the mails sent are accepted within ${var.slo.seconds} s"
  goal                = var.slo.goal
  rolling_period_days = var.slo.days
  user_labels         = local.labels

  request_based_sli {
    distribution_cut {
      distribution_filter = "${local.metric_filters.time_to_accept} resource.label.${local.sender_label}=\"${var.resources.sender}\""

      range {
        min = 0
        max = var.slo.seconds * 1000
      }
    }
  }

  depends_on = [time_sleep.metrics]
}
