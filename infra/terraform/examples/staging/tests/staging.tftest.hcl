mock_provider "google" {}

mock_provider "google-beta" {
  mock_resource "google_project_service_identity" {
    defaults = { member = "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" }
  }
}

mock_provider "time" {}

variables {
  project           = "shop-staging"
  database_location = "eur3"
  image_version     = "1.2.3"
  default_from      = "The Shop <shop@example.com>"
  test_inbox        = "staging@example.com"
}

run "all_mail_goes_to_the_test_inbox" {
  command = plan

  assert {
    condition     = output.firepost.recipients.allowed == null && output.firepost.recipients.redirect == tolist(["staging@example.com"])
    error_message = "Without testers, nobody else may get mail."
  }
}

run "testers_get_their_own" {
  command = plan

  variables {
    testers = ["ada@example.com", "*@qa.example.com"]
  }

  assert {
    condition     = output.firepost.recipients == { allowed = tolist(["ada@example.com", "*@qa.example.com"]), redirect = tolist(["staging@example.com"]) }
    error_message = "Testers get mail directly, all others do not."
  }
}
