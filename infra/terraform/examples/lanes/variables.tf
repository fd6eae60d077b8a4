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

