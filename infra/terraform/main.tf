# Values shared by several files.

locals {
  # https://cloud.google.com/firestore/docs/eventarc#locations: the region in which Eventarc handles a multi-region's events.
  # A trigger's own location is the database's, multi-region or not.
  multi_regions = { nam5 = "us-central1", nam7 = "us-central1", eur3 = "europe-west4" }
  region        = coalesce(var.region, lookup(local.multi_regions, var.database.location, var.database.location))

  labels = merge({ app = var.name }, var.labels)
  pulls  = var.subscription_type == "pull"
}
