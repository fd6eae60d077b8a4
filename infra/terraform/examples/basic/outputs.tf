output "firepost" {
  description = "All outputs of the module."
  value       = module.firepost
}

output "keep_events_command" {
  description = "The command to run after each apply; cloudbuild-apply.yaml does."
  value       = module.firepost.keep_events_command
}
