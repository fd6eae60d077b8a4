# What to deploy, where, and under which names. Mail settings are in variables_mail.tf, monitoring in
# variables_watching.tf.

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
    The Firestore database. `location` is the output of `gcloud firestore databases describe --format='value(locationId)'`:
    a region or one of the multi-regions nam5, nam7 and eur3. With `create`, the database is created, with deletion
    protection.
  EOT
  type = object({
    id       = optional(string, "(default)")
    location = string
    create   = optional(bool, false)
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
  description = "Region of services, images and scheduler. Null: the database's own, or for a multi-region the region that Eventarc maps it to."
  type        = string
  default     = null

  validation {
    condition     = var.region == null || can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as europe-west1; multi-regions are for database.location only."
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

variable "dispatcher_image" {
  description = "Container image of the dispatcher, with a tag or a digest."
  type        = string

  validation {
    condition     = can(regex("(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]*)$", var.dispatcher_image)) && !endswith(var.dispatcher_image, ":latest")
    error_message = "dispatcher_image must end with a tag other than latest, or with a digest: otherwise the running version is unknown, and rollback impossible."
  }
}

variable "sender_image" {
  description = "Container image of the sender, with a tag or a digest."
  type        = string

  validation {
    condition     = can(regex("(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_][A-Za-z0-9_.-]*)$", var.sender_image)) && !endswith(var.sender_image, ":latest")
    error_message = "sender_image must end with a tag other than latest, or with a digest: otherwise the running version is unknown, and rollback impossible."
  }
}

variable "create_repository" {
  description = "Whether to create an Artifact Registry repository for the images."
  type        = bool
  default     = true
  nullable    = false
}

variable "labels" {
  description = "Labels of all resources that support labels."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to destroy the services, and Firestore to delete a database that the module created. To destroy, first apply with false; the database and its documents are kept even then."
  type        = bool
  default     = true
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
