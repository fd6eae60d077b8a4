# Made from modules/* by `make terraform-docs`.

variable "project" {
  description = "Id of the Google Cloud project."
  type        = string
}

variable "name" {
  description = "Prefix of all names. Each instance of this module (for another collection or database) needs a different one."
  type        = string
  default     = "firepost"
  nullable    = false
}

variable "database" {
  description = <<-EOT
    The Firestore database: Native mode, Standard edition. `location` is the output of
    `gcloud firestore databases describe --format='value(locationId)'`: a region or one of the multi-regions nam5, nam7 and
    eur3. With `create`, the database is created; `deletion_protection` then keeps anyone from deleting it. Destroying the
    module never deletes it.
  EOT
  type = object({
    id                  = optional(string, "(default)")
    location            = string
    create              = optional(bool, false)
    deletion_protection = optional(bool, true)
  })
}

variable "region" {
  description = "Region of services and images. Null: the database's own, or for a multi-region the region that Eventarc maps it to."
  type        = string
  default     = null
}

variable "scheduler_region" {
  description = "Region of the Cloud Scheduler job, which is not available in all regions of Cloud Run (https://cloud.google.com/scheduler/docs/locations). Null: that of the services."
  type        = string
  default     = null
}

variable "secret_locations" {
  description = "Regions in which created secrets are stored, where an organisation's policy forbids Google's choice. A later change replaces them, with their content. [] leaves the choice to Google, or with `kms_key` to the key's location."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "message_regions" {
  description = "Regions in which Pub/Sub may store messages of the module's topics: inline mails and dead letters contain whole mails. [] allows all that the organisation's policy does."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "kms_key" {
  description = "Key of Cloud KMS that encrypts topics, created secrets, images, services and a created database: projects/PROJECT/locations/REGION/keyRings/RING/cryptoKeys/KEY, in the region of the services. A later change replaces created secrets and the repository, with their content. Null: Google's own keys."
  type        = string
  default     = null
}

variable "mail_collection" {
  description = "Path of the collection of mail documents, such as mail or tenants/acme/mail."
  type        = string
  default     = "mail"
  nullable    = false
}

variable "image_version" {
  description = "Version of Firepost: the tag that the images of both services have."
  type        = string
}

variable "image_repository" {
  description = "Docker repository with the images `dispatcher` and `sender`: HOST/PROJECT/REPOSITORY. Null: the module creates one in Artifact Registry, REGION-docker.pkg.dev/PROJECT/NAME."
  type        = string
  default     = null
}

variable "keep_images" {
  description = "Of each image in the created repository, keep this many of the newest and delete others that are older than 180 days. Null: keep all."
  type        = number
  default     = null
}

variable "database_role_id" {
  description = "Id of the custom role for the database. Null: NAME_database. A deleted role blocks its id for weeks; then choose another."
  type        = string
  default     = null
}

variable "labels" {
  description = "Labels of all resources that support labels."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "static_egress" {
  description = "Give the sender a fixed IP address, for mail servers that only accept known ones: through a separate VPC and Cloud NAT. Null: no."
  type = object({
    cidr = optional(string, "10.8.0.0/24")
  })
  default = null
}

variable "subscription_type" {
  description = "How mail reaches the sender: push (a service that scales to zero), or pull (a worker pool of fixed size, for high and steady throughput)."
  type        = string
  default     = "push"
  nullable    = false
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
}

variable "default_from" {
  description = "DEFAULT_FROM: the `from` address if the document has none."
  type        = string
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
}

variable "recipients_redirect" {
  description = "RECIPIENTS_REDIRECT: the addresses that get the mail in place of all others, or of those outside recipients_allowed. Null: nobody does."
  type        = list(string)
  default     = null
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
}

variable "attempt_seconds" {
  description = "ATTEMPT_SECONDS: time limit of an attempt. Null: 5/6 of the lease."
  type        = number
  default     = null
}

variable "ack_deadline_seconds" {
  description = "The mail subscription's acknowledgement deadline, and the sender's ACK_DEADLINE_SECONDS."
  type        = number
  default     = 75
  nullable    = false
}

variable "max_attempts" {
  description = "MAX_ATTEMPTS: maximum number of attempts, including those that users request. 1: no automatic retries, as in Trigger Email."
  type        = number
  default     = 1
  nullable    = false
}

variable "lease_expiry_policy" {
  description = "LEASE_EXPIRY_POLICY: what happens to a mail whose sender vanished: error (at most once), retry-unsent (at most once, and one write more per mail: again if surely unsent) or retry (at least once)."
  type        = string
  default     = "error"
  nullable    = false
}

variable "ttl" {
  description = "TTL_EXPIRE_TYPE and TTL_EXPIRE_VALUE: after how long Firestore deletes a mail document. Null: never."
  type = object({
    type  = string
    value = number
  })
  default = null
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
}

variable "settings" {
  description = "Further settings of the services, by variable name, such as TEMPLATES_COLLECTION or STRANDED_AFTER: those of docs/settings.md that have no variable here, and OpenTelemetry's."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "reconcile_minutes" {
  description = "Minutes between two runs of the reconciler. A mail that is scheduled, or tried again, may be that much late; less where a run stays because others become due."
  type        = number
  default     = 1
  nullable    = false
}

variable "max_backoff_seconds" {
  description = "Longest pause until Pub/Sub delivers a message again that the sender refused, or could not take for lack of instances. The first is 10 seconds; each doubles. Together with max_delivery_attempts it decides how long an outage may last until messages become dead letters: with the defaults, three hours."
  type        = number
  default     = 120
  nullable    = false
}

variable "max_delivery_attempts" {
  description = "Deliveries after which Pub/Sub moves a message to the dead-letter topic. Waiting for another sender's lease uses some, too."
  type        = number
  default     = 100
  nullable    = false
}

variable "dead_letter_retention_days" {
  description = "Days for which dead letters can be inspected and replayed."
  type        = number
  default     = 14
  nullable    = false
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
}
