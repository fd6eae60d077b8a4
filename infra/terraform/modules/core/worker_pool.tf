# The senders as worker pools, which pull messages: for subscription_type = "pull".

resource "google_cloud_run_v2_worker_pool" "sender" {
  for_each = local.pulls ? local.senders : {}

  project  = var.project
  name     = each.value.name
  location = local.region
  labels   = local.labels

  deletion_protection = false # a pool whose first start failed is replaced by the next apply

  # Manual scaling is the default. Naming it would show as a change in every plan: the API does not return it.
  scaling {
    scaling_mode          = each.value.pull_max_instances == null ? null : "AUTOMATIC"
    manual_instance_count = each.value.pull_max_instances == null ? each.value.pull_instances : null
    min_instance_count    = each.value.pull_max_instances == null ? null : each.value.pull_instances
    max_instance_count    = each.value.pull_max_instances
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
        for_each = merge(local.sender_environment, local.pull_environment, each.value.environment)

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

moved {
  from = google_cloud_run_v2_worker_pool.sender[0]
  to   = google_cloud_run_v2_worker_pool.sender["default"]
}
