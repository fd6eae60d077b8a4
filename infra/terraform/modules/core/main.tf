# Values shared by several files.

locals {
  # https://cloud.google.com/firestore/docs/eventarc#locations: the region in which Eventarc handles a multi-region's events
  # (nam7 as in Google's own deployments). A trigger's own location is the database's, multi-region or not.
  multi_regions = { nam5 = "us-central1", nam7 = "us-central1", eur3 = "europe-west4" }
  region        = coalesce(var.region, lookup(local.multi_regions, var.database.location, var.database.location))

  labels = merge({ app = var.name }, var.labels)
  pulls  = var.subscription_type == "pull"

  repository = coalesce(var.image_repository, "${local.region}-docker.pkg.dev/${var.project}/${var.name}")
  images     = { for service in ["dispatcher", "sender"] : service => "${local.repository}/${service}:${var.image_version}" }
}
