# The sender as a worker pool, which pulls messages: for subscription_type = "pull".

locals {
  pool_scales = var.sender.pull_max_instances != null

  # Of either kind of sender. Cloud Run exceeds a service's maximum at times.
  most_instances = local.pulls ? coalesce(var.sender.pull_max_instances, var.sender.pull_instances) : var.sender.max_instances
}

resource "google_cloud_run_v2_worker_pool" "sender" {
  count = local.pulls ? 1 : 0

  project  = var.project
  name     = "${var.name}-sender"
  location = local.region
  labels   = local.labels

  deletion_protection = false # a pool whose first start failed is replaced by the next apply

  # Manual scaling is the default. Naming it would show as a change in every plan: the API does not return it.
  scaling {
    scaling_mode          = local.pool_scales ? "AUTOMATIC" : null
    manual_instance_count = local.pool_scales ? null : var.sender.pull_instances
    min_instance_count    = local.pool_scales ? var.sender.pull_instances : null
    max_instance_count    = var.sender.pull_max_instances
  }

  template {
    labels          = local.labels
    service_account = google_service_account.sender.email
    encryption_key  = var.kms_key

    containers {
      name  = "sender"
      image = local.images.sender
      args  = ["pull"]

      resources {
        limits = { cpu = tostring(var.sender.cpu), memory = var.sender.memory }
      }

      dynamic "env" {
        for_each = merge(local.sender_environment, local.pull_environment)

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
          limits = { cpu = "1", memory = "512Mi" }
        }
      }
    }

    dynamic "vpc_access" {
      for_each = google_compute_subnetwork.egress

      content {
        egress = "ALL_TRAFFIC"

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
    google_pubsub_subscription_iam_member.sender_pulls,
  ]
}
