terraform {
  # 1.9: validations can refer to other variables.
  required_version = ">= 1.9"

  required_providers {
    # 6.38: the first with Cloud Run's worker pools.
    google = {
      source  = "hashicorp/google"
      version = ">= 6.38, < 8.0"
    }
    # For a feature missing in the other provider: creating Pub/Sub's own account (apis.tf).
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 6.38, < 8.0"
    }
  }
}
