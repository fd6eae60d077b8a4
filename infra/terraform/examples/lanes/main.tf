# A newsletter never delays a password reset: mails with the template `newsletter`, and those with `lane: "bulk"`, have a
# subscription and a sender of their own, which scales to zero. It opens few connections, so that most are left to the rest.

module "firepost" {
  source = "../.."

  project       = var.project
  database      = { location = var.database_location }
  image_version = var.image_version
  default_from  = var.default_from

  lanes = {
    bulk = { templates = ["newsletter"], max_instances = 1, smtp_max_connections = 5 }
  }
}
