variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "database_location" {
  description = "Location of the Firestore database, from `gcloud firestore databases describe --format='value(locationId)'`."
  type        = string
}

variable "dispatcher_image" {
  description = "Image of the dispatcher, with its tag."
  type        = string
}

variable "sender_image" {
  description = "Image of the sender, with its tag."
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
