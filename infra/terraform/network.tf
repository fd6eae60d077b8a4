# A fixed address to send from, if one is wanted: the sender's traffic goes through a VPC and leaves by one NAT address.

resource "google_compute_network" "egress" {
  # checkov:skip=CKV2_GCP_18: without rules, nothing comes in; all that lives here is Cloud Run's way out
  count = var.static_egress == null ? 0 : 1

  project                 = var.project
  name                    = "${var.name}-egress"
  auto_create_subnetworks = false

  depends_on = [google_project_service.this]
}

resource "google_compute_subnetwork" "egress" {
  # checkov:skip=CKV_GCP_26: one client, whose connections the services log; the NAT logs those that failed
  count = var.static_egress == null ? 0 : 1

  project       = var.project
  name          = "${var.name}-egress"
  region        = local.region
  network       = google_compute_network.egress[0].id
  ip_cidr_range = var.static_egress.cidr

  # Firestore and Pub/Sub are reached directly, and don't use up the NAT's ports.
  private_ip_google_access = true

  lifecycle {
    create_before_destroy = true # and destroyed after the sender has left it: Terraform's usual order is the other one
  }
}

resource "google_compute_address" "egress" {
  count = var.static_egress == null ? 0 : 1

  project = var.project
  name    = "${var.name}-egress"
  region  = local.region
  labels  = local.labels

  depends_on = [google_project_service.this]
}

resource "google_compute_router" "egress" {
  count = var.static_egress == null ? 0 : 1

  project = var.project
  name    = "${var.name}-egress"
  region  = local.region
  network = google_compute_network.egress[0].id
}

resource "google_compute_router_nat" "egress" {
  count = var.static_egress == null ? 0 : 1

  project = var.project
  name    = "${var.name}-egress"
  region  = local.region
  router  = google_compute_router.egress[0].name

  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = google_compute_address.egress[*].self_link
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  # Each connection keeps its port for two minutes beyond its end: Google's 64 for an instance are soon used up where the
  # mail server ends connections after few mails. One address has 64,512. There may be more instances than max_instances
  # for a while, when a new revision takes over, so a quarter of an even share is certain to be there for each.
  min_ports_per_vm = max(64, min(8192, floor(64512 / (4 * var.sender.max_instances))))

  subnetwork {
    name                    = google_compute_subnetwork.egress[0].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY" # connections that found no port
  }

  lifecycle {
    create_before_destroy = true # as above
  }
}
