output "region" {
  description = "Region of services, images and scheduler."
  value       = local.region
}

output "repository" {
  description = "Repository for images: HOST/PROJECT/REPOSITORY. Null without create_repository."
  value       = one([for each in google_artifact_registry_repository.images : "${each.location}-docker.pkg.dev/${each.project}/${each.repository_id}"])
}

output "dispatcher_url" {
  description = "Address of the dispatcher's service."
  value       = google_cloud_run_v2_service.dispatcher.uri
}

output "sender_url" {
  description = "Address of the sender's service. Null with subscription_type = \"pull\"."
  value       = one(google_cloud_run_v2_service.sender[*].uri)
}

output "mail_topic" {
  description = "Id of the topic that inline mails may be published to (docs/messages.md). Publishers need roles/pubsub.publisher on it."
  value       = google_pubsub_topic.mail.name
}

output "lifecycle_topic" {
  description = "Id of the topic with lifecycle events. Null without lifecycle_events."
  value       = one(google_pubsub_topic.lifecycle[*].name)
}

output "command_line_environment" {
  description = "Variables that point `python -m cli` at this deployment."
  value = {
    GOOGLE_CLOUD_PROJECT     = var.project
    DATABASE                 = var.database.id
    MAIL_COLLECTION          = var.mail_collection
    MAIL_TOPIC               = google_pubsub_topic.mail.name
    DEAD_LETTER_SUBSCRIPTION = google_pubsub_subscription.dead_letters_pull.name
  }
}

output "service_accounts" {
  description = "E-mail addresses of the service accounts, by purpose."
  value = {
    dispatcher = google_service_account.dispatcher.email
    sender     = google_service_account.sender.email
    events     = google_service_account.events.email
    push       = google_service_account.push.email
    scheduler  = google_service_account.scheduler.email
  }
}

output "created_secrets" {
  description = "Secrets that were created empty; each needs a version before the sender can start (docs/deploying.md)."
  value       = { for name, secret in google_secret_manager_secret.created : name => secret.secret_id }
}

output "mail_server_limits" {
  description = "Maximum load on the mail server of the default transport, except for the seconds in which a new revision takes over; mails_per_second is null if unlimited."
  value = {
    connections      = var.sender.max_instances * var.sender.smtp_max_connections
    mails_per_second = try(var.sender.max_instances * var.sender.smtp_rate_per_second, null)
  }
}

output "egress_address" {
  description = "The fixed IP address from which mail is sent. Null without static_egress."
  value       = one(google_compute_address.egress[*].address)
}

output "dashboard" {
  description = "Address of the dashboard."
  value       = "https://console.cloud.google.com/monitoring/dashboards/builder/${basename(google_monitoring_dashboard.this.id)}?project=${var.project}"
}
