variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "database_location" {
  description = "Location of the Firestore database, from `gcloud firestore databases describe --format='value(locationId)'`."
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
