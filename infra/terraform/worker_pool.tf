# The sender as a worker pool, which pulls messages: for subscription_type = "pull".

resource "google_cloud_run_v2_worker_pool" "sender" {
  count = local.pulls ? 1 : 0

  project  = var.project
  name     = "${var.name}-sender"
  location = local.region
  labels   = local.labels

  deletion_protection = var.deletion_protection

  # A pool does not scale automatically.
  scaling {
    scaling_mode          = "MANUAL"
    manual_instance_count = var.sender.max_instances
  }

  template {
    labels          = local.labels
    service_account = google_service_account.sender.email

    containers {
      image = var.sender_image
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
    google_project_service.this,
    google_project_iam_member.uses_database,
    google_secret_manager_secret_iam_member.sender_reads,
    google_compute_router_nat.egress, # without it, no connection leaves the VPC, and mail would end in ERROR
    google_pubsub_subscription_iam_member.sender_pulls,
  ]
}
