# An optional key of the operator's, with which Google encrypts what the module creates.

locals {
  # Keys are projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY.
  key_location = var.kms_key == null ? null : split("/", var.kms_key)[3]

  encrypting_agents = concat(["artifactregistry", "run", "secretmanager"], var.database.create ? ["firestore"] : [])
}

resource "google_kms_crypto_key_iam_member" "encrypts" {
  for_each = var.kms_key == null ? [] : toset(concat(["pubsub"], local.encrypting_agents))

  crypto_key_id = var.kms_key
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = google_project_service_identity.this[each.key].member

  depends_on = [time_sleep.apis]
}

# Permissions take a while to reach all of Google's servers.
resource "time_sleep" "key" {
  count = var.kms_key == null ? 0 : 1

  create_duration = "90s"
  triggers        = { for agent, each in google_kms_crypto_key_iam_member.encrypts : agent => each.id }
}
