# Made from modules/* by `make terraform-docs`.

output "region" {
  description = "Region of services and images."
  value       = module.core.region
}

output "repository" {
  description = "Repository of the images: HOST/PROJECT/REPOSITORY."
  value       = module.core.repository
}

output "dispatcher_url" {
  description = "Address of the dispatcher's service."
  value       = module.core.dispatcher_url
}

output "sender_url" {
  description = "Address of the service of the default lane's sender. Null with subscription_type = \"pull\"."
  value       = module.core.sender_url
}

output "mail_topic" {
  description = "Id of the topic that inline mails may be published to (docs/messages.md). Publishers need roles/pubsub.publisher on it."
  value       = module.core.mail_topic
}

output "lifecycle_topic" {
  description = "Id of the topic with lifecycle events. Null without lifecycle_events."
  value       = module.core.lifecycle_topic
}

output "command_line_environment" {
  description = "Variables that point `python -m cli` at this deployment."
  value       = module.core.command_line_environment
}

output "service_accounts" {
  description = "E-mail addresses of the service accounts, by purpose."
  value       = module.core.service_accounts
}

output "created_secrets" {
  description = "Secrets that were created empty; each needs a version before the sender can start (docs/deploying.md)."
  value       = module.core.created_secrets
}

output "mail_server_load" {
  description = "Usual maximum load of all lanes together on the mail server of the default transport; mails_per_second is null if unlimited. Cloud Run may exceed it, with up to twice as many instances for some minutes; with subscription_type = \"pull\" it is exact but for updates."
  value       = module.core.mail_server_load
}

output "egress_address" {
  description = "The fixed IP address from which mail is sent. Null without static_egress."
  value       = module.core.egress_address
}

output "keep_events_command" {
  description = "Command that makes Eventarc keep undelivered events for a week instead of a day, and move those that fail for 16 hours to a dead-letter topic. Run it after each apply (docs/deploying.md)."
  value       = module.core.keep_events_command
}

output "resources" {
  description = "Names of the resources: for modules/monitoring, and for checks of a deployment."
  value       = module.core.resources
}

output "recipients" {
  description = "Who gets mail: only `allowed`, and `redirect` in place of all others. Both null: everybody."
  value       = module.core.recipients
}

output "dashboard" {
  description = "Address of the dashboard."
  value       = module.monitoring.dashboard
}
