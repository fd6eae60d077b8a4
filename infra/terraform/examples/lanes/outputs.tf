output "firepost" {
  description = "All outputs of the module."
  value       = module.firepost
}
