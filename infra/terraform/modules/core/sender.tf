# The senders' services, which Pub/Sub pushes mail to: one per lane (lanes.tf). With subscription_type = "pull",
# worker_pool.tf replaces them.

resource "google_cloud_run_v2_service" "sender" {
  for_each = local.pulls ? {} : local.senders

  project  = var.project
  name     = each.value.name
  location = local.region
  labels   = local.labels

  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY" # Pub/Sub of this project counts as internal
  deletion_protection = false                           # a service whose first start failed is replaced by the next apply

  template {
    labels                           = local.labels
    service_account                  = google_service_account.sender.email
    timeout                          = "${var.ack_deadline_seconds}s" # after that, Pub/Sub ignores the response
    max_instance_request_concurrency = var.sender.concurrency

    scaling {
      min_instance_count = each.value.min_instances
      max_instance_count = each.value.max_instances
    }

    encryption_key = var.kms_key

    containers {
      name       = "sender"
      image      = local.images.sender
      depends_on = length(local.collectors) == 0 ? null : keys(local.collectors)

      # With a second container, Cloud Run has to be told which one is called.
      dynamic "ports" {
        for_each = local.collectors

        content {
          container_port = 8080
        }
      }

      resources {
        limits            = { cpu = tostring(var.sender.cpu), memory = var.sender.memory }
        cpu_idle          = var.traces == null # spans are exported between requests, too
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.sender_environment, local.push_environment, each.value.environment)

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secret_references

        content {
          name = env.key

          value_source {
            secret_key_ref {
              secret  = env.value.secret
              version = env.value.version
            }
          }
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

    dynamic "vpc_access" {
      for_each = google_compute_subnetwork.egress

      content {
        egress = "ALL_TRAFFIC" # required for mail to leave through the NAT

        network_interfaces {
          network    = google_compute_network.egress[0].id
          subnetwork = vpc_access.value.id
        }
      }
    }
  }

  depends_on = [
    time_sleep.permissions,
    time_sleep.key,
    google_compute_router_nat.egress, # without it, no connection leaves the VPC, and mail would end in ERROR
  ]
}

moved {
  from = google_cloud_run_v2_service.sender[0]
  to   = google_cloud_run_v2_service.sender["default"]
}
