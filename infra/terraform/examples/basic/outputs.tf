output "firepost" {
  description = "All that the module says about what it made."
  value       = module.firepost
}
