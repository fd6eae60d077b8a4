# How the services run and mail. The meaning of each setting is in docs/settings.md.

variable "subscription_type" {
  description = "How mail reaches the sender: push (a service that scales to zero), or pull (a worker pool of fixed size, for high and steady throughput)."
  type        = string
  default     = "push"
  nullable    = false

  validation {
    condition     = contains(["push", "pull"], var.subscription_type)
    error_message = "subscription_type must be push or pull."
  }
}

variable "shadow" {
  description = "SHADOW: look on while another system sends the mails of the collection. No mail is sent; services may only read the database, whose indexes and expiry do not change; the report is `python -m cli shadow report` (docs/shadow.md)."
  type        = bool
  default     = false
  nullable    = false
}

variable "dispatcher" {
  description = "Size of the dispatcher's service. `concurrency` is requests (and threads) per instance."
  type = object({
    cpu           = optional(number, 1)
    memory        = optional(string, "512Mi")
    concurrency   = optional(number, 32)
    min_instances = optional(number, 0)
    max_instances = optional(number, 10)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.dispatcher.min_instances >= 0 && var.dispatcher.max_instances >= max(1, var.dispatcher.min_instances)
    error_message = "dispatcher.max_instances must be at least 1 and at least dispatcher.min_instances."
  }

  validation {
    condition     = contains([1, 2, 4, 6, 8], var.dispatcher.cpu)
    error_message = "dispatcher.cpu must be 1, 2, 4, 6 or 8."
  }

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.dispatcher.memory))
    error_message = "dispatcher.memory must be a whole number of Mi or Gi, such as 512Mi."
  }

  validation {
    # https://cloud.google.com/run/docs/configuring/services/cpu
    condition = try(
      tonumber(regex("^[0-9]+", var.dispatcher.memory)) * (endswith(var.dispatcher.memory, "Gi") ? 1024 : 1)
      >= lookup({ "4" = 2048, "6" = 4096, "8" = 4096 }, tostring(var.dispatcher.cpu), 0), true
    )
    error_message = "dispatcher.memory must be 2Gi or more with 4 CPUs, and 4Gi or more with 6 or 8: Cloud Run requires it."
  }

  validation {
    condition     = var.dispatcher.concurrency >= var.dispatcher.cpu && var.dispatcher.concurrency <= 1000
    error_message = "dispatcher.concurrency must be from dispatcher.cpu to 1000: each CPU has a process, and each process at least one thread."
  }
}

variable "sender" {
  description = <<-EOT
    Size of the sender. `concurrency` is messages (and threads) per instance; those beyond `smtp_max_connections` wait.
    With subscription_type = "push", Cloud Run runs `min_instances` to `max_instances`, and aims at no more: in a spike or
    while a new revision takes over, there may be up to twice as many for some minutes. So at most `max_instances` ×
    `smtp_max_connections` connections to the mail server, of which each instance uses as many as the server takes, and `smtp_rate_per_second` mails per second, which all instances share,
    are its usual load: stay at half of the provider's limits. (Further transports, TRANSPORTS, have separate limits.)
    With subscription_type = "pull", exactly `pull_instances` run, and are billed, all the time; with `pull_max_instances`,
    from `pull_instances` to that many, by CPU. Each is one process, so give it one CPU and take more instances instead.
  EOT
  type = object({
    cpu                  = optional(number, 1)
    memory               = optional(string, "512Mi")
    concurrency          = optional(number, 64)
    min_instances        = optional(number, 0)
    max_instances        = optional(number, 4)
    pull_instances       = optional(number, 1)
    pull_max_instances   = optional(number)
    smtp_max_connections = optional(number, 40)
    smtp_rate_per_second = optional(number)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.sender.min_instances >= 0 && var.sender.max_instances >= max(1, var.sender.min_instances)
    error_message = "sender.max_instances must be at least 1 and at least sender.min_instances."
  }

  validation {
    condition     = var.sender.pull_instances >= 1 && try(var.sender.pull_max_instances >= var.sender.pull_instances, var.sender.pull_max_instances == null)
    error_message = "sender.pull_instances must be at least 1, and sender.pull_max_instances at least as much, or null."
  }

  validation {
    condition     = var.subscription_type == "push" || var.sender.min_instances == 0
    error_message = "sender.min_instances is for subscription_type = \"push\"; with \"pull\", set sender.pull_instances."
  }

  validation {
    condition     = contains([1, 2, 4, 6, 8], var.sender.cpu)
    error_message = "sender.cpu must be 1, 2, 4, 6 or 8."
  }

  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.sender.memory))
    error_message = "sender.memory must be a whole number of Mi or Gi, such as 512Mi."
  }

  validation {
    # https://cloud.google.com/run/docs/configuring/services/cpu
    condition = try(
      tonumber(regex("^[0-9]+", var.sender.memory)) * (endswith(var.sender.memory, "Gi") ? 1024 : 1)
      >= lookup({ "4" = 2048, "6" = 4096, "8" = 4096 }, tostring(var.sender.cpu), 0), true
    )
    error_message = "sender.memory must be 2Gi or more with 4 CPUs, and 4Gi or more with 6 or 8: Cloud Run requires it."
  }

  validation {
    condition     = var.sender.concurrency >= var.sender.cpu && var.sender.concurrency <= 1000
    error_message = "sender.concurrency must be from sender.cpu to 1000: each CPU has a process, and each process at least one thread."
  }

  validation {
    condition     = var.sender.smtp_max_connections >= var.sender.cpu && var.sender.smtp_max_connections <= 1000
    error_message = "sender.smtp_max_connections must be from sender.cpu to 1000: each CPU's process has at least one connection."
  }

  validation {
    condition     = var.sender.smtp_rate_per_second == null ? true : var.sender.smtp_rate_per_second > 0
    error_message = "sender.smtp_rate_per_second must be more than 0, or null for no limit."
  }
}

variable "lanes" {
  description = <<-EOT
    Lanes beside the default one, by name: mails of one never wait for those of another (docs/lanes.md). In a lane are the mails
    with this `lane`, and those without any that have one of the `templates` or `transports`. Each has a sender of its own
    that scales to zero, of the size of `sender`, with 0 to `max_instances`; with subscription_type = "pull", exactly
    `pull_instances`. `smtp_max_connections` is per instance; null: as in `sender`. Each change of the names replaces the
    default lane's subscription.
  EOT
  type = map(object({
    templates            = optional(set(string), [])
    transports           = optional(set(string), [])
    max_instances        = optional(number, 1)
    pull_instances       = optional(number, 1)
    smtp_max_connections = optional(number)
  }))
  default  = {}
  nullable = false

  validation {
    # Pub/Sub allows a filter 256 bytes, and Cloud Run a service's name 49.
    condition     = length(var.lanes) <= 5 && alltrue([for lane in keys(var.lanes) : can(regex("^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$", lane)) && lane != "default"])
    error_message = "lanes must be at most 5; a name has up to 20 lower-case letters, digits and hyphens, begins with a letter, does not end with a hyphen, and is not default."
  }

  validation {
    condition     = alltrue([for each in values(var.lanes) : alltrue([for name in setunion(each.templates, each.transports) : can(regex("^[^[:space:],]{1,200}$", name))])])
    error_message = "lanes: templates and transports must be names without spaces and commas; documents can name the lane instead."
  }

  validation {
    condition = alltrue([
      for kind in ["templates", "transports"] :
      length(distinct(flatten([for each in values(var.lanes) : tolist(each[kind])]))) == length(flatten([for each in values(var.lanes) : tolist(each[kind])]))
    ])
    error_message = "lanes: a template or transport can be in one lane only."
  }

  validation {
    condition     = alltrue([for each in values(var.lanes) : each.max_instances >= 1 && each.pull_instances >= 1])
    error_message = "lanes: max_instances and pull_instances must be at least 1."
  }
}

variable "default_from" {
  description = "DEFAULT_FROM: the `from` address if the document has none."
  type        = string

  validation {
    condition     = can(regex("^[^\\r\\n]*[^\\s@<>]+@[^\\s@<>]+>?$", var.default_from))
    error_message = "default_from must be an address such as shop@example.com or The Shop <shop@example.com>."
  }
}

variable "default_reply_to" {
  description = "DEFAULT_REPLY_TO: the reply address if the document has none. Null: replies go to the `from` address."
  type        = string
  default     = null
}

variable "recipients_allowed" {
  description = "RECIPIENTS_ALLOWED: the only recipients that get mail, such as ada@example.com, *@example.com or *@*.example.com. Set it, or recipients_redirect, everywhere but in production. Null: everybody gets mail."
  type        = list(string)
  default     = null

  validation {
    condition     = var.recipients_allowed == null ? true : length(var.recipients_allowed) > 0
    error_message = "recipients_allowed must name somebody; null lets everybody get mail."
  }

  validation {
    condition = var.recipients_allowed == null ? true : alltrue([
      for each in var.recipients_allowed : can(regex("^([^\\s@*,;<>]+@|\\*@(\\*\\.)?)[^\\s@*,;<>]+$", each))
    ])
    error_message = "recipients_allowed takes addresses, *@example.com, and *@*.example.com for its subdomains."
  }
}

variable "recipients_redirect" {
  description = "RECIPIENTS_REDIRECT: the addresses that get the mail in place of all others, or of those outside recipients_allowed. Null: nobody does."
  type        = list(string)
  default     = null

  validation {
    condition     = var.recipients_redirect == null ? true : length(var.recipients_redirect) > 0
    error_message = "recipients_redirect must name somebody; null redirects nothing."
  }

  validation {
    condition     = var.recipients_redirect == null ? true : alltrue([for each in var.recipients_redirect : can(regex("^[^\\s@*,;<>]+@[^\\s@*,;<>]+$", each))])
    error_message = "recipients_redirect takes addresses such as staging@example.com, and no patterns."
  }
}

variable "attachment_buckets" {
  description = "ATTACHMENT_BUCKETS: Cloud Storage buckets that attachments may come from; the sender gets read access."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "lease_seconds" {
  description = "LEASE_SECONDS: duration of the lease on a document."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = var.lease_seconds >= 2 && var.lease_seconds <= 540 && floor(var.lease_seconds) == var.lease_seconds
    error_message = "lease_seconds must be a whole number from 2 to 540."
  }
}

variable "attempt_seconds" {
  description = "ATTEMPT_SECONDS: time limit of an attempt. Null: 5/6 of the lease."
  type        = number
  default     = null

  validation {
    condition     = var.attempt_seconds == null ? true : var.attempt_seconds > 0 && var.attempt_seconds < var.lease_seconds
    error_message = "attempt_seconds must be more than 0 and less than lease_seconds: an attempt must end before its lease expires."
  }
}

variable "ack_deadline_seconds" {
  description = "The mail subscription's acknowledgement deadline, and the sender's ACK_DEADLINE_SECONDS."
  type        = number
  default     = 75
  nullable    = false

  validation {
    condition     = var.ack_deadline_seconds >= 10 && var.ack_deadline_seconds <= 600
    error_message = "ack_deadline_seconds must be from 10 to 600, as Pub/Sub requires."
  }

  validation {
    condition     = var.ack_deadline_seconds > var.lease_seconds
    error_message = "ack_deadline_seconds must be more than lease_seconds: otherwise Pub/Sub delivers a message again while its attempt is still running."
  }
}

variable "max_attempts" {
  description = "MAX_ATTEMPTS: maximum number of attempts, including those that users request. 1: no automatic retries, as in Trigger Email."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.max_attempts >= 1 && var.max_attempts <= 100
    error_message = "max_attempts must be from 1 to 100."
  }
}

variable "lease_expiry_policy" {
  description = "LEASE_EXPIRY_POLICY: what happens to a mail whose sender vanished: error (at most once), retry-unsent (at most once, and one write more per mail: again if surely unsent) or retry (at least once)."
  type        = string
  default     = "error"
  nullable    = false

  validation {
    condition     = contains(["error", "retry-unsent", "retry"], var.lease_expiry_policy)
    error_message = "lease_expiry_policy must be error, retry-unsent or retry."
  }

  validation {
    condition     = var.lease_expiry_policy != "retry" || var.max_attempts >= 2
    error_message = "lease_expiry_policy = \"retry\" requires max_attempts of at least 2."
  }
}

variable "ttl" {
  description = "TTL_EXPIRE_TYPE and TTL_EXPIRE_VALUE: after how long Firestore deletes a mail document. Null: never."
  type = object({
    type  = string
    value = number
  })
  default = null

  validation {
    condition     = var.ttl == null ? true : contains(["hour", "day", "week", "month", "year"], var.ttl.type)
    error_message = "ttl.type must be hour, day, week, month or year."
  }

  validation {
    condition     = var.ttl == null ? true : var.ttl.value >= 1 && var.ttl.value <= 36500
    error_message = "ttl.value must be from 1 to 36500."
  }
}

variable "lifecycle_events" {
  description = "Whether to create a topic for lifecycle events (EVENTS_TOPIC), to which the dispatcher publishes."
  type        = bool
  default     = false
  nullable    = false
}

variable "eventarc_channel" {
  description = "EVENTARC_CHANNEL: an existing channel of Eventarc, projects/PROJECT/locations/LOCATION/channels/CHANNEL, to which the dispatcher publishes Trigger Email's events. They contain whole mails. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.eventarc_channel == null || can(regex("^projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/channels/[A-Za-z0-9-]+$", var.eventarc_channel))
    error_message = "eventarc_channel must be projects/PROJECT/locations/LOCATION/channels/CHANNEL."
  }
}

variable "secrets" {
  description = <<-EOT
    Secret settings, by variable name: the secret in Secret Manager (its id, or projects/…/secrets/…) and the version that
    new instances read. With `create`, the secret is created empty; its value never passes through Terraform.
  EOT
  type = map(object({
    secret  = string
    version = optional(string, "1")
    create  = optional(bool, false)
  }))
  default = {
    SMTP_CONNECTION_URI = { secret = "firepost-smtp-connection-uri", create = true }
  }
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.secrets) : can(regex(local.secret_name, name))])
    error_message = "secrets may only contain ${join(", ", local.secret_settings)}, optionally prefixed with a transport's name."
  }

  validation {
    condition     = alltrue([for each in values(var.secrets) : can(regex("^(latest|[1-9][0-9]*)$", each.version))])
    error_message = "The version of a secret must be a number, or latest."
  }

  validation {
    condition     = alltrue([for each in values(var.secrets) : !each.create || !strcontains(each.secret, "/")])
    error_message = "A secret to be created must be given by its id only: it is created in this project."
  }
}

variable "settings" {
  description = "Further settings of the services, by variable name, such as TEMPLATES_COLLECTION or STRANDED_AFTER: those of docs/settings.md that have no variable here, and OpenTelemetry's."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.settings) : !can(regex(local.secret_name, name)) || endswith(name, "TLS_OPTIONS")])
    error_message = "settings would put a secret into Terraform's state and the console in plain text; use secrets instead."
  }

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex(local.setting_name, name)) || can(regex(local.secret_name, name))])
    error_message = "settings takes ${join(", ", local.plain_settings)}, those of further transports, and OpenTelemetry's OTEL_…; others have their own variable here, or are misspelt."
  }

  validation {
    condition     = alltrue([for name, value in var.settings : !(endswith(name, "TLS_OPTIONS") && strcontains(value, "PRIVATE KEY"))])
    error_message = "TLS_OPTIONS contains a private key; use secrets instead."
  }

  validation {
    condition     = alltrue([for name in keys(var.settings) : !can(regex("^OTEL_.*HEADERS$", name))])
    error_message = "OpenTelemetry's headers contain keys, which must not be in settings; use a collector that needs none."
  }

  validation {
    condition     = length(setintersection(keys(var.settings), keys(var.secrets))) == 0
    error_message = "${join(", ", setintersection(keys(var.settings), keys(var.secrets)))} is both in settings and in secrets."
  }
}

variable "reconcile_minutes" {
  description = "Minutes between two runs of the reconciler. A mail that is scheduled, or tried again, may be that much late; less where a run stays because others become due."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = contains([1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30], var.reconcile_minutes)
    error_message = "reconcile_minutes must divide an hour: 1, 2, 3, 4, 5, 6, 10, 12, 15, 20 or 30."
  }
}

variable "max_backoff_seconds" {
  description = "Longest pause until Pub/Sub delivers a message again that the sender refused, or could not take for lack of instances. The first is 10 seconds; each doubles. Together with max_delivery_attempts it decides how long an outage may last until messages become dead letters: with the defaults, three hours."
  type        = number
  default     = 120
  nullable    = false

  validation {
    condition     = var.max_backoff_seconds >= 10 && var.max_backoff_seconds <= 600 && floor(var.max_backoff_seconds) == var.max_backoff_seconds
    error_message = "max_backoff_seconds must be a whole number from 10 to 600, as Pub/Sub requires."
  }
}

variable "max_delivery_attempts" {
  description = "Deliveries after which Pub/Sub moves a message to the dead-letter topic. Waiting for another sender's lease uses some, too."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.max_delivery_attempts >= 5 && var.max_delivery_attempts <= 100
    error_message = "max_delivery_attempts must be from 5 to 100, as Pub/Sub requires."
  }
}

variable "dead_letter_retention_days" {
  description = "Days for which dead letters can be inspected and replayed."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = var.dead_letter_retention_days >= 1 && var.dead_letter_retention_days <= 31
    error_message = "dead_letter_retention_days must be from 1 to 31, as Pub/Sub requires."
  }
}

variable "unindexed_fields" {
  description = <<-EOT
    Fields of mail documents that Firestore does not index: ever-growing times (an index on one limits the collection to
    about 500 writes per second), and large ones. Remove a field if the application queries by it. [] keeps all indexes.
    Within these, what the command line looks up stays indexed (docs/command-line.md#indexes), unless it is named here, too.
  EOT
  type        = set(string)
  default = [
    "delivery.startTime", "delivery.endTime", "delivery.leaseExpireTime", "delivery.unsentLease", "delivery.republishTime",
    "delivery.info", "delivery.error", "delivery.rendered", "delivery.warnings", "delivery.history",
    "sendAt", "expiresAt",
    "message", "template.data", "sendGrid", "headers",
  ]
  nullable = false

  validation {
    condition     = length(setintersection(var.unindexed_fields, concat(["delivery"], local.queried_fields))) == 0
    error_message = "unindexed_fields must not contain delivery, ${join(", ", local.queried_fields)}: the reconciler and the command line query by them."
  }

  validation {
    condition     = var.ttl == null || !contains(var.unindexed_fields, "delivery.expireAt")
    error_message = "unindexed_fields must not contain delivery.expireAt: ttl already removes its index, and two resources for one field conflict."
  }
}

variable "traces" {
  description = <<-EOT
    Record spans and write them to Cloud Trace, through OpenTelemetry's collector in a container beside each service. The
    services' images need the extra `otel`. `all` records every mail; otherwise the caller decides, and Cloud Run samples
    few. Instances are then billed for as long as they exist, because spans are exported between requests. Null: no.
  EOT
  type = object({
    all   = optional(bool, false)
    image = optional(string, "us-docker.pkg.dev/cloud-ops-agents-artifacts/google-cloud-opentelemetry-collector/otelcol-google:0.160.0")
  })
  default = null
}
