terraform {
  # 1.9: a validation may look at other variables.
  required_version = ">= 1.9"

  required_providers {
    # 6.38: the first with Cloud Run's worker pools.
    google = {
      source  = "hashicorp/google"
      version = ">= 6.38, < 8.0"
    }
    # For what Google keeps out of the other: making its own account for Pub/Sub (apis.tf).
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 6.38, < 8.0"
    }
  }
}
