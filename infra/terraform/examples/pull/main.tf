# For much mail all the time: a worker pool that pulls messages, and can be reached by nobody. It runs one instance at least,
# day and night, and up to four when they are busy.

module "firepost" {
  source = "../.."

  project       = var.project
  database      = { location = var.database_location }
  image_version = var.image_version
  default_from  = var.default_from

  subscription_type = "pull"
  sender            = { pull_instances = 1, pull_max_instances = 4, smtp_max_connections = 20 }
}
