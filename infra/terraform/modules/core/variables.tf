# What to deploy, where, and under which names. Mail settings are in variables_mail.tf.

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project must be a project id (6 to 30 lower-case letters, digits and hyphens), not its number or its title."
  }
}

variable "name" {
  description = "Prefix of all names. Each instance of this module (for another collection or database) needs a different one."
  type        = string
  default     = "firepost"
  nullable    = false

  validation {
    # A service account's id has at most 30 characters, and "-dispatcher" is the longest of the suffixes.
    condition     = can(regex("^[a-z][a-z0-9-]{1,17}[a-z0-9]$", var.name))
    error_message = "name must be 3 to 19 lower-case letters, digits and hyphens, begin with a letter and not end with a hyphen."
  }
}

variable "database" {
  description = <<-EOT
    The Firestore database: Native mode, Standard edition. `location` is the output of
    `gcloud firestore databases describe --format='value(locationId)'`: a region or one of the multi-regions nam5, nam7 and
    eur3. With `create`, the database is created; `deletion_protection` then keeps anyone from deleting it. Destroying the
    module never deletes it.
  EOT
  type = object({
    id                  = optional(string, "(default)")
    location            = string
    create              = optional(bool, false)
    deletion_protection = optional(bool, true)
  })

  validation {
    condition     = can(regex("^(\\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$", var.database.id))
    error_message = "database.id must be (default), or 4 to 63 lower-case letters, digits and hyphens."
  }

  validation {
    condition     = can(regex("^(nam5|nam7|eur3|[a-z]+-[a-z]+[0-9]+)$", var.database.location))
    error_message = "database.location must be a region such as europe-west1, or nam5, nam7 or eur3."
  }
}

variable "region" {
  description = "Region of services and images. Null: the database's own, or for a multi-region the region that Eventarc maps it to."
  type        = string
  default     = null

  validation {
    condition     = var.region == null || can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as europe-west1; multi-regions are for database.location only."
  }
}

variable "scheduler_region" {
  description = "Region of the Cloud Scheduler job, which is not available in all regions of Cloud Run (https://cloud.google.com/scheduler/docs/locations). Null: that of the services."
  type        = string
  default     = null

  validation {
    condition     = var.scheduler_region == null || can(regex("^[a-z]+-[a-z]+[0-9]+$", var.scheduler_region))
    error_message = "scheduler_region must be a region such as europe-west1."
  }
}

variable "secret_locations" {
  description = "Regions in which created secrets are stored, where an organisation's policy forbids Google's choice. A later change replaces them, with their content. [] leaves the choice to Google, or with `kms_key` to the key's location."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for location in var.secret_locations : can(regex("^[a-z]+-[a-z]+[0-9]+$", location))])
    error_message = "secret_locations must contain regions such as europe-west1."
  }
}

variable "message_regions" {
  description = "Regions in which Pub/Sub may store messages of the module's topics: inline mails and dead letters contain whole mails. [] allows all that the organisation's policy does."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for region in var.message_regions : can(regex("^[a-z]+-[a-z]+[0-9]+$", region))])
    error_message = "message_regions must contain regions such as europe-west1."
  }
}

variable "kms_key" {
  description = "Key of Cloud KMS that encrypts topics, created secrets, images, services and a created database: projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY, in the region of the services. A later change replaces created secrets and the repository, with their content. Null: Google's own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key == null || can(regex("^projects/[^/]+/locations/[a-z]+-[a-z]+[0-9]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key must be projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY, without a version and not in a multi-region."
  }

  validation {
    condition     = try(split("/", var.kms_key)[3] == local.region, true)
    error_message = "kms_key must be a key in the region of the services (output region): images and services can only use one of their own region."
  }

  validation {
    condition     = var.kms_key == null || length(var.secret_locations) == 0
    error_message = "With kms_key, secrets are stored in the key's region; leave secret_locations empty."
  }

  validation {
    condition     = var.kms_key == null || !var.database.create || var.database.location == local.region
    error_message = "With kms_key, a database can only be created in the key's region: create it yourself, with a key of its location."
  }
}

variable "mail_collection" {
  description = "Path of the collection of mail documents, such as mail or tenants/acme/mail."
  type        = string
  default     = "mail"
  nullable    = false

  validation {
    condition     = can(regex("^[^/{}*]+(/[^/{}*]+/[^/{}*]+)*$", var.mail_collection))
    error_message = "mail_collection must be the path of one collection (an odd number of parts, no wildcards); for several, use this module several times."
  }
}

variable "image_version" {
  description = "Version of Firepost: the tag that the images of both services have."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_version)) && var.image_version != "latest"
    error_message = "image_version must be a tag other than latest: otherwise the running version is unknown, and rollback impossible."
  }
}

variable "image_repository" {
  description = "Docker repository with the images `dispatcher` and `sender`: HOST/PROJECT/REPOSITORY. Null: the module creates one in Artifact Registry, REGION-docker.pkg.dev/PROJECT/NAME."
  type        = string
  default     = null

  validation {
    condition     = var.image_repository == null || can(regex("^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+$", var.image_repository))
    error_message = "image_repository must be a repository such as europe-west4-docker.pkg.dev/shop-production/firepost, without an image's name, tag or trailing slash."
  }
}

variable "keep_images" {
  description = "Of each image in the created repository, keep this many of the newest and delete others that are older than 180 days. Null: keep all."
  type        = number
  default     = null

  validation {
    condition     = var.keep_images == null ? true : var.keep_images >= 5 && floor(var.keep_images) == var.keep_images
    error_message = "keep_images must be a whole number of 5 or more: older images are what you roll back to."
  }
}

variable "database_role_id" {
  description = "Id of the custom role for the database. Null: NAME_database. A deleted role blocks its id for weeks; then choose another."
  type        = string
  default     = null

  validation {
    condition     = var.database_role_id == null || can(regex("^[a-zA-Z0-9_.]{3,64}$", var.database_role_id))
    error_message = "database_role_id must be 3 to 64 letters, digits, underscores and periods."
  }
}

variable "labels" {
  description = "Labels of all resources that support labels."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "static_egress" {
  description = "Give the sender a fixed IP address, for mail servers that only accept known ones: through a separate VPC and Cloud NAT. Null: no."
  type = object({
    cidr = optional(string, "10.8.0.0/24")
  })
  default = null

  validation {
    condition     = var.static_egress == null || try(cidrnetmask(var.static_egress.cidr) != "" && tonumber(split("/", var.static_egress.cidr)[1]) <= 26, false)
    error_message = "static_egress.cidr must be an IPv4 range of /26 or larger: Cloud Run takes several addresses per instance."
  }
}
