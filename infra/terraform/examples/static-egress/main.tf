# For a mail server that only takes mail from known addresses: all of the sender's traffic leaves from one. An instance is kept,
# because the first connection of a new one may take a minute, and failed attempts are repeated.

module "firepost" {
  source = "../.."

  project       = var.project
  database      = { location = var.database_location }
  image_version = var.image_version
  default_from  = var.default_from

  static_egress = {}
  sender        = { min_instances = 1 }
  max_attempts  = 3
}
