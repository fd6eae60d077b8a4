# For much mail all the time: a worker pool that pulls messages, and can be reached by nobody. It runs two instances, day
# and night. With pull_max_instances, their number would follow the CPU.

module "firepost" {
  source = "../.."

  project       = var.project
  database      = { location = var.database_location }
  image_version = var.image_version
  default_from  = var.default_from

  subscription_type = "pull"
  sender            = { pull_instances = 2, smtp_max_connections = 20 }
}
