# With `traces`: OpenTelemetry's collector beside each service. It takes spans on localhost and writes them to Cloud Trace with
# the service's own account, so no key is needed. Google's guide:
# https://cloud.google.com/stackdriver/docs/instrumentation/opentelemetry-collector-cloud-run

locals {
  collectors = var.traces == null ? {} : { collector = var.traces }

  # Takes no more memory than it has, and sends spans in batches; `health_check` is for Cloud Run's startup probe.
  collector_config = yamlencode({
    receivers  = { otlp = { protocols = { grpc = { endpoint = "localhost:4317" } } } }
    processors = { memory_limiter = { check_interval = "1s", limit_percentage = 65, spike_limit_percentage = 20 }, batch = { timeout = "5s" } }
    exporters  = { googlecloud = { project = var.project } }
    extensions = { health_check = { endpoint = "0.0.0.0:13133" } }
    service = {
      extensions = ["health_check"]
      pipelines  = { traces = { receivers = ["otlp"], processors = ["memory_limiter", "batch"], exporters = ["googlecloud"] } }
    }
  })

  traces_environment = var.traces == null ? {} : merge(
    { TRACES = "otlp", OTEL_EXPORTER_OTLP_ENDPOINT = "http://localhost:4317" },
    var.traces.all ? { OTEL_TRACES_SAMPLER = "always_on" } : {},
  )
}

resource "google_project_iam_member" "writes_traces" {
  for_each = var.traces == null ? {} : {
    dispatcher = google_service_account.dispatcher.member
    sender     = google_service_account.sender.member
  }

  project = var.project
  role    = "roles/cloudtrace.agent"
  member  = each.value

  depends_on = [time_sleep.apis]
}
