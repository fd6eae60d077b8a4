# An optional fixed IP address: the sender's traffic goes through a VPC and leaves through one NAT address.

resource "google_compute_network" "egress" {
  # checkov:skip=CKV2_GCP_18: without rules, nothing comes in; the network only carries Cloud Run's outgoing traffic
  count = var.static_egress == null ? 0 : 1

  project                 = var.project
  name                    = "${var.name}-egress"
  auto_create_subnetworks = false

  depends_on = [time_sleep.apis]
}

resource "google_compute_subnetwork" "egress" {
  # checkov:skip=CKV_GCP_26: one client, whose connections the services log; the NAT logs failures
  count = var.static_egress == null ? 0 : 1

  project       = var.project
  name          = "${var.name}-egress"
  region        = local.region
  network       = google_compute_network.egress[0].id
  ip_cidr_range = var.static_egress.cidr

  # Firestore and Pub/Sub are reached directly, without using the NAT's ports.
  private_ip_google_access = true

  lifecycle {
    create_before_destroy = true # and destroyed after the sender has left it; Terraform's default order is the reverse
  }
}

resource "google_compute_address" "egress" {
  count = var.static_egress == null ? 0 : 1

  project = var.project
  name    = "${var.name}-egress"
  region  = local.region
  labels  = local.labels

  depends_on = [time_sleep.apis]
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

  # Each connection occupies its port for two minutes after its end: Google's default of 64 per instance is too low if the
  # mail server ends connections after few mails. One address has 64,512. There may be up to twice as many instances as the
  # maximum, and others take over from them at an update, so each gets a quarter of an even share.
  min_ports_per_vm = max(64, min(8192, floor(64512 / (4 * local.most_instances))))

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
