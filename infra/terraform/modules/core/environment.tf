# The services' environment variables; their meaning is in docs/settings.md.

locals {
  # A Cloud Run service's address contains a part that is unknown before it exists, so the service accepts a pattern. It also
  # checks the caller's account, and Cloud Run has already checked the exact address.
  audience_pattern = { for service in ["dispatcher", "sender"] : service => "https://${var.name}-${service}-*.run.app" }

  common_environment = tomap(merge(
    {
      GOOGLE_CLOUD_PROJECT = var.project
      DATABASE             = local.database_id
      MAIL_COLLECTION      = var.mail_collection
      MAIL_TOPIC           = google_pubsub_topic.this["mail"].name
      LEASE_SECONDS        = var.lease_seconds
      MAX_ATTEMPTS         = var.max_attempts
      LEASE_EXPIRY_POLICY  = var.lease_expiry_policy
    },
    var.ttl == null ? {} : { TTL_EXPIRE_TYPE = var.ttl.type, TTL_EXPIRE_VALUE = var.ttl.value },
    var.shadow ? { SHADOW = true } : {},
    length(var.lanes) == 0 ? {} : {
      LANES = join(",", [for lane, rules in local.lane_rules : join("=", compact([lane, join(" ", rules)]))])
    },
    local.traces_environment,
    var.settings,
  ))

  dispatcher_environment = tomap(merge(
    local.common_environment,
    {
      THREADS               = var.dispatcher.concurrency
      WEB_WORKERS           = var.dispatcher.cpu
      OIDC_AUDIENCE         = local.audience_pattern.dispatcher
      OIDC_SERVICE_ACCOUNTS = join(",", [for caller in local.dispatcher_callers : caller.email])
      OIDC_BEHIND_CLOUD_RUN = true # iam.tf admits no other callers
    },
    var.lifecycle_events ? { EVENTS_TOPIC = google_pubsub_topic.this["lifecycle"].name } : {},
    var.eventarc_channel == null ? {} : { EVENTARC_CHANNEL = var.eventarc_channel },
  ))

  sender_environment = tomap(merge(
    local.common_environment,
    {
      THREADS              = var.sender.concurrency
      DEAD_LETTER_TOPIC    = google_pubsub_topic.this["dead_letters"].name
      DEFAULT_FROM         = var.default_from
      SMTP_MAX_CONNECTIONS = var.sender.smtp_max_connections
      ACK_DEADLINE_SECONDS = var.ack_deadline_seconds
    },
    length(var.attachment_buckets) == 0 ? {} : { ATTACHMENT_BUCKETS = join(",", sort(var.attachment_buckets)) },
    var.default_reply_to == null ? {} : { DEFAULT_REPLY_TO = var.default_reply_to },
    var.attempt_seconds == null ? {} : { ATTEMPT_SECONDS = var.attempt_seconds },
    var.recipients_allowed == null ? {} : { RECIPIENTS_ALLOWED = join(",", var.recipients_allowed) },
    var.recipients_redirect == null ? {} : { RECIPIENTS_REDIRECT = join(",", var.recipients_redirect) },
    var.sender.smtp_rate_per_second == null ? {} : { SMTP_RATE_PER_SECOND = var.sender.smtp_rate_per_second },
  ))

  push_environment = {
    WEB_WORKERS           = var.sender.cpu
    OIDC_AUDIENCE         = local.audience_pattern.sender
    OIDC_SERVICE_ACCOUNTS = google_service_account.push.email
    OIDC_BEHIND_CLOUD_RUN = true
  }

  pull_environment = {
    MAIL_SUBSCRIPTION = "${var.name}-mail-sender"
  }

  # What `secrets` may contain: values that allow sending mail or impersonation. TLS_OPTIONS may contain a key.
  secret_settings = [
    "CLIENT_SECRET", "REFRESH_TOKEN", "SENDGRID_API_KEY", "SMTP_CONNECTION_URI", "SMTP_PASSWORD", "TLS_OPTIONS",
  ]

  # What `settings` may contain: everything that is neither secret nor set above.
  plain_settings = [
    "ATTACHMENT_HOSTS", "AUTH_TYPE", "BATCH_SIZE", "BATCH_WAIT_MS", "CLIENT_ID", "EVENTARC_CLOUD_EVENT_SOURCE",
    "EXT_SELECTED_EVENTS", "FAILOVER", "FAILOVER_DOMAINS", "HOST", "INLINE_CSS", "MEMORY_BUDGET_MB", "OAUTH_GRANT", "OAUTH_PORT", "OAUTH_SECURE",
    "OAUTH_TOKEN_URL", "OIDC_CERTIFICATES_URL", "OUTAGE_PATIENCE", "PULL_MAX_BYTES", "PULL_MAX_MESSAGES", "REDACT_AFTER_SUCCESS",
    "RETRY_FIRST_SECONDS", "RETRY_LONGEST_SECONDS", "SENDGRID_API_URL", "STORE_RENDERED", "STRANDED_AFTER",
    "TEMPLATES_COLLECTION", "TENANT_FIELD", "TENANT_RATE_PER_SECOND", "TEXT_FROM_HTML", "TRACES", "TRANSPORT", "TRANSPORTS", "USER", "USERS_COLLECTION",
  ]

  # Those that each of TRANSPORTS may have, prefixed with its name.
  transport_settings = [
    "AUTH_TYPE", "CLIENT_ID", "DEFAULT_FROM", "DEFAULT_REPLY_TO", "FAILOVER", "FAILOVER_DOMAINS", "FROM_DOMAINS", "HOST", "OAUTH_GRANT", "OAUTH_PORT",
    "OAUTH_SECURE", "OAUTH_TOKEN_URL", "SENDGRID_API_URL", "SMTP_MAX_CONNECTIONS", "SMTP_RATE_PER_SECOND",
    "TLS_OPTIONS", "TRANSPORT", "USER",
  ]

  secret_name  = "^([A-Z][A-Z0-9_]*_)?(${join("|", local.secret_settings)})$"
  setting_name = "^(${join("|", concat(local.plain_settings, local.secret_settings))}|[A-Z][A-Z0-9_]*_(${join("|", local.transport_settings)})|OTEL_[A-Z0-9_]+)$"
}
