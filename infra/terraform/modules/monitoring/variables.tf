# What is watched, alert recipients and thresholds.

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "name" {
  description = "Prefix of all names: that of modules/core."
  type        = string
  default     = "firepost"
  nullable    = false
}

variable "labels" {
  description = "Labels of all resources that support labels."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "resources" {
  description = "What to watch: the output `resources` of modules/core."
  type = object({
    database                   = string
    dispatcher                 = string
    sender                     = string
    sender_is_worker_pool      = bool
    mail_subscription          = string
    dead_letter_subscription   = string
    dead_event_subscription    = string
    dead_letter_retention_days = number
    events_subscription        = string
    reconcile_minutes          = number
    lanes                      = optional(map(object({ sender = string, subscription = string })), {})
  })
}

variable "notification_channels" {
  description = "Monitoring notification channels (projects/…/notificationChannels/…) that alerts go to."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "runbook_url" {
  description = "Address of the operators' copy of docs/operating.md, such as https://github.com/OWNER/REPOSITORY/blob/main/docs/operating.md; each alert links to its section. Required with `notification_channels`."
  type        = string
  default     = null

  validation {
    condition     = var.runbook_url == null || can(regex("^https://[^#[:space:]]+$", var.runbook_url))
    error_message = "runbook_url must be an address that begins with https:// and has no # in it: alerts append their section's name."
  }

  validation {
    condition     = var.runbook_url != null || length(var.notification_channels) == 0
    error_message = "With notification_channels, runbook_url must say where the notified people find docs/operating.md."
  }
}

variable "alerts" {
  description = <<-EOT
    Thresholds. `backlog_seconds`: age of the oldest message, and of the oldest event; `lane_backlog_seconds`: of the oldest
    message of a lane other than the default one. `error_ratio`: share of attempts that end
    in ERROR, given at least `error_ratio_attempts` in ten minutes. `partial_ratio`: share of the mails sent within an hour
    that some recipients did not get, given at least `error_ratio_attempts`. `lease_expiries`: in ten minutes.
    `stalled_backlog`: waiting messages while nothing is sent for ten minutes; `stalled_attempts`: attempts that failed or
    were put off while nothing is sent for an hour. `burn_rate`: how many times faster than the SLO allows the error budget is
    used.
  EOT
  type = object({
    backlog_seconds      = optional(number, 300)
    lane_backlog_seconds = optional(number, 3600)
    error_ratio          = optional(number, 0.05)
    error_ratio_attempts = optional(number, 20)
    partial_ratio        = optional(number, 0.05)
    lease_expiries       = optional(number, 5)
    stalled_backlog      = optional(number, 10)
    stalled_attempts     = optional(number, 3)
    burn_rate            = optional(number, 10)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alerts.error_ratio > 0 && var.alerts.error_ratio < 1
    error_message = "alerts.error_ratio must be between 0 and 1."
  }

  validation {
    condition     = var.alerts.partial_ratio > 0 && var.alerts.partial_ratio < 1
    error_message = "alerts.partial_ratio must be between 0 and 1."
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
