# The dispatcher's service: document events, reconciler runs, dead letters.

resource "google_cloud_run_v2_service" "dispatcher" {
  project  = var.project
  name     = "${var.name}-dispatcher"
  location = local.region
  labels   = local.labels

  # Eventarc, Pub/Sub and Cloud Scheduler of this project count as internal.
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = false # a service whose first start failed is replaced by the next apply

  template {
    labels          = local.labels
    service_account = google_service_account.dispatcher.email
    # A reconciler run may stay until the next one, and then has something left to publish.
    timeout                          = "${60 * var.reconcile_minutes + 60}s"
    max_instance_request_concurrency = var.dispatcher.concurrency

    scaling {
      min_instance_count = var.dispatcher.min_instances
      max_instance_count = var.dispatcher.max_instances
    }

    encryption_key = var.kms_key

    containers {
      name       = "dispatcher"
      image      = local.images.dispatcher
      depends_on = length(local.collectors) == 0 ? null : keys(local.collectors)

      # With a second container, Cloud Run has to be told which one is called.
      dynamic "ports" {
        for_each = local.collectors

        content {
          container_port = 8080
        }
      }

      resources {
        limits            = { cpu = tostring(var.dispatcher.cpu), memory = var.dispatcher.memory }
        cpu_idle          = var.traces == null # spans are exported between requests, too
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
          path = "/health"
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 5
        failure_threshold = 3

        http_get {
          path = "/health"
        }
      }
    }

    dynamic "containers" {
      for_each = local.collectors

      content {
        name  = containers.key
        image = containers.value.image
        args  = ["--config=env:COLLECTOR_CONFIG"]

        env {
          name  = "COLLECTOR_CONFIG"
          value = local.collector_config
        }

        resources {
          limits            = { cpu = "1", memory = "512Mi" }
          cpu_idle          = false
          startup_cpu_boost = true
        }

        startup_probe {
          period_seconds    = 1
          timeout_seconds   = 1
          failure_threshold = 30

          http_get {
            path = "/"
            port = 13133
          }
        }
      }
    }
  }

  depends_on = [
    time_sleep.permissions,
    time_sleep.key,
    google_pubsub_subscription.mail, # of each lane, before messages are published into it
  ]
}
