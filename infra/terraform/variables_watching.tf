# Alert recipients and thresholds.

variable "notification_channels" {
  description = "Monitoring notification channels (projects/…/notificationChannels/…) that alerts go to."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "runbook_url" {
  description = "URL of the operators' copy of docs/operating.md; each alert links to its section."
  type        = string
  default     = "docs/operating.md"
  nullable    = false
}

variable "alerts" {
  description = <<-EOT
    Thresholds. `backlog_seconds`: age of the oldest message, and of the oldest event. `error_ratio`: share of attempts that end in ERROR, given at
    least `error_ratio_attempts` in ten minutes. `lease_expiries`: in ten minutes. `stalled_backlog`: waiting messages
    while nothing is sent. `burn_rate`: how many times faster than the SLO allows the error budget is used.
  EOT
  type = object({
    backlog_seconds      = optional(number, 300)
    error_ratio          = optional(number, 0.05)
    error_ratio_attempts = optional(number, 20)
    lease_expiries       = optional(number, 5)
    stalled_backlog      = optional(number, 10)
    burn_rate            = optional(number, 10)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alerts.error_ratio > 0 && var.alerts.error_ratio < 1
    error_message = "alerts.error_ratio must be between 0 and 1."
  }
}

variable "slo" {
  description = "The objective: this share (`goal`) of the mails sent is accepted by the mail server within `seconds` of being queued (or of `sendAt`), over `days`."
  type = object({
    goal    = optional(number, 0.99)
    seconds = optional(number, 60)
    days    = optional(number, 28)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.slo.goal > 0 && var.slo.goal < 1
    error_message = "slo.goal must be between 0 and 1, such as 0.99."
  }

  validation {
    condition     = contains(local.latency_bounds_ms, var.slo.seconds * 1000)
    error_message = "slo.seconds must be a bound of the histogram: ${join(", ", [for bound in local.latency_bounds_ms : bound / 1000])}."
  }

  validation {
    condition     = var.slo.days >= 1 && var.slo.days <= 30
    error_message = "slo.days must be from 1 to 30."
  }
}
