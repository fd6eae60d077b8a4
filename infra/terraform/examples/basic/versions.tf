terraform {
  required_version = ">= 1.9"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 6.50, < 8.0"
    }
    time = {
      source  = "hashicorp/time"
      version = ">= 0.9, < 1.0"
    }
  }

  # The state shows permissions and addresses: keep it in a bucket that few can read, named by
  # `terraform init -backend-config=bucket=NAME`.
  backend "gcs" {
    prefix = "firepost"
  }
}

provider "google" {
  project = var.project
}

provider "google-beta" {
  project = var.project
}
