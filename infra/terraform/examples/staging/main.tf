# For every environment but production, where a copy of real data must not mail real people: all mail goes to a test mailbox.
# Only the testers get their own. Mails are deleted after a month.

module "firepost" {
  source = "../.."

  project       = var.project
  database      = { location = var.database_location }
  image_version = var.image_version
  default_from  = var.default_from

  recipients_redirect = [var.test_inbox]
  recipients_allowed  = var.testers

  sender = { max_instances = 1 }
  ttl    = { type = "day", value = 30 }
}
