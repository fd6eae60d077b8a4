# The dispatcher's service: document events, reconciler runs, dead letters.

resource "google_cloud_run_v2_service" "dispatcher" {
  project  = var.project
  name     = "${var.name}-dispatcher"
  location = local.region
  labels   = local.labels

  # Eventarc, Pub/Sub and Cloud Scheduler of this project count as internal.
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = var.deletion_protection

  template {
    labels                           = local.labels
    service_account                  = google_service_account.dispatcher.email
    timeout                          = "60s" # a reconciler run takes at most 40 s
    max_instance_request_concurrency = var.dispatcher.concurrency

    scaling {
      min_instance_count = var.dispatcher.min_instances
      max_instance_count = var.dispatcher.max_instances
    }

    containers {
      image = var.dispatcher_image

      resources {
        limits            = { cpu = tostring(var.dispatcher.cpu), memory = var.dispatcher.memory }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.dispatcher_environment

        content {
          name  = env.key
          value = env.value
        }
      }

      startup_probe {
        period_seconds    = 1
        timeout_seconds   = 1
        failure_threshold = 30

        http_get {
          path = "/healthz"
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3

        http_get {
          path = "/healthz"
        }
      }
    }
  }

  depends_on = [google_project_service.this, google_project_iam_member.uses_database]
}
