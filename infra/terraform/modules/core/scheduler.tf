# Calls the reconciler.

resource "google_cloud_scheduler_job" "reconcile" {
  project     = var.project
  name        = "${var.name}-reconcile"
  region      = coalesce(var.scheduler_region, local.region)
  description = "Publishes due and stranded mail, and concludes expired leases."

  schedule         = "*/${var.reconcile_minutes} * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "${min(60 * var.reconcile_minutes + 60, 1800)}s" # half an hour is the most that it can be

  http_target {
    http_method = "POST"
    # It stays until just before the next run: Cloud Scheduler delays a run until the one before it has ended.
    uri = "${google_cloud_run_v2_service.dispatcher.uri}/reconcile?stay=${60 * var.reconcile_minutes - 2}"

    oidc_token {
      service_account_email = google_service_account.scheduler.email
      audience              = google_cloud_run_v2_service.dispatcher.uri
    }
  }

  retry_config {
    retry_count = 0 # the next run is the retry
  }

  depends_on = [time_sleep.apis]
}
