variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "database_location" {
  description = "Location of the Firestore database: a region, in which messages are stored, too."
  type        = string
}

variable "image_version" {
  description = "Version of Firepost: the tag of both images."
  type        = string
}

variable "default_from" {
  description = "The `from` address if a document has none."
  type        = string
}

variable "notification_channels" {
  description = "Monitoring notification channels that alerts go to; without one, alerts only appear in the console."
  type        = list(string)
  default     = []
}

variable "runbook_url" {
  description = "Address of docs/operating.md for those whom alerts notify. Required with `notification_channels`."
  type        = string
  default     = null
}

variable "database_id" {
  description = "Id of the Firestore database."
  type        = string
}

variable "image_repository" {
  description = "Docker repository with the images `dispatcher` and `sender`: HOST/PROJECT/REPOSITORY."
  type        = string
}

variable "smtp_secret" {
  description = "The secret with the SMTP URI: its id, or projects/PROJECT/secrets/ID."
  type        = string
}
