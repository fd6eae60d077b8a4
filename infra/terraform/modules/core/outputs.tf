output "region" {
  description = "Region of services and images."
  value       = local.region
}

output "repository" {
  description = "Repository of the images: HOST/PROJECT/REPOSITORY."
  value       = local.repository
}

output "dispatcher_url" {
  description = "Address of the dispatcher's service."
  value       = google_cloud_run_v2_service.dispatcher.uri
}

output "sender_url" {
  description = "Address of the service of the default lane's sender. Null with subscription_type = \"pull\"."
  value       = try(google_cloud_run_v2_service.sender["default"].uri, null)
}

output "mail_topic" {
  description = "Id of the topic that inline mails may be published to (docs/messages.md). Publishers need roles/pubsub.publisher on it."
  value       = google_pubsub_topic.this["mail"].name
}

output "lifecycle_topic" {
  description = "Id of the topic with lifecycle events. Null without lifecycle_events."
  value       = var.lifecycle_events ? google_pubsub_topic.this["lifecycle"].name : null
}

output "command_line_environment" {
  description = "Variables that point `python -m cli` at this deployment."
  value = {
    GOOGLE_CLOUD_PROJECT     = var.project
    DATABASE                 = var.database.id
    MAIL_COLLECTION          = var.mail_collection
    MAIL_TOPIC               = google_pubsub_topic.this["mail"].name
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

output "mail_server_load" {
  description = "Usual maximum load of all lanes together on the mail server of the default transport; mails_per_second is null if unlimited. Cloud Run may exceed it, with up to twice as many instances for some minutes; with subscription_type = \"pull\" it is exact but for updates."
  value = {
    connections      = sum([for sender in local.senders : sender.most_instances * sender.connections])
    mails_per_second = var.sender.smtp_rate_per_second
  }
}

output "egress_address" {
  description = "The fixed IP address from which mail is sent. Null without static_egress."
  value       = one(google_compute_address.egress[*].address)
}

output "keep_events_command" {
  description = "Command that makes Eventarc keep undelivered events for a week instead of a day, and move those that fail for 16 hours to a dead-letter topic. Run it after each apply (docs/deploying.md)."
  value       = local.keep_events_command
}

output "resources" {
  description = "Names of the resources: for modules/monitoring, and for checks of a deployment."
  value = {
    database              = local.database_id
    dispatcher            = google_cloud_run_v2_service.dispatcher.name
    sender                = local.sender_names.default
    sender_is_worker_pool = local.pulls
    mail_subscription     = google_pubsub_subscription.mail["default"].name
    lanes = {
      for lane in keys(var.lanes) : lane => {
        sender       = local.sender_names[lane]
        subscription = google_pubsub_subscription.mail[lane].name
      }
    }
    dead_letter_subscription   = google_pubsub_subscription.dead_letters_pull.name
    dead_event_subscription    = google_pubsub_subscription.dead_events_pull.name
    dead_letter_retention_days = var.dead_letter_retention_days
    events_subscription        = local.events_subscription
    reconcile_minutes          = var.reconcile_minutes
    trigger                    = google_eventarc_trigger.documents.id
    scheduler_job              = google_cloud_scheduler_job.reconcile.id
    pubsub_agent               = google_project_service_identity.this["pubsub"].member
    secrets                    = local.secret_references
  }
}

output "recipients" {
  description = "Who gets mail: only `allowed`, and `redirect` in place of all others. Both null: everybody."
  value       = { allowed = var.recipients_allowed, redirect = var.recipients_redirect }
}
