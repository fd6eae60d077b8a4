output "firepost" {
  description = "All outputs of the module."
  value       = module.firepost
}

output "egress_address" {
  description = "The address to allow at the mail server."
  value       = module.firepost.egress_address
}
