terraform {
  # 1.9: validations can refer to other variables.
  required_version = ">= 1.9"

  required_providers {
    # 6.50: the oldest that this is tested with.
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50, < 8.0"
    }
    # Waits for what Google spreads after it has answered.
    time = {
      source  = "hashicorp/time"
      version = ">= 0.9, < 1.0"
    }
  }
}
