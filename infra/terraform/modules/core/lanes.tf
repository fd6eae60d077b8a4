# Lanes: mails of one never wait for those of another (docs/lanes.md). Each has a subscription to the mail topic and a sender
# of its own; "default" is the lane of all mails that are in no other.

locals {
  senders = merge(
    {
      default = {
        name               = "${var.name}-sender"
        subscription       = "${var.name}-mail-sender"
        filter             = length(var.lanes) == 0 ? null : join(" AND ", [for lane in keys(var.lanes) : "NOT attributes.lane=\"${lane}\""])
        min_instances      = var.sender.min_instances
        max_instances      = var.sender.max_instances
        pull_instances     = var.sender.pull_instances
        pull_max_instances = var.sender.pull_max_instances
        # Cloud Run exceeds a service's maximum at times.
        most_instances = local.pulls ? coalesce(var.sender.pull_max_instances, var.sender.pull_instances) : var.sender.max_instances
        connections    = var.sender.smtp_max_connections
        environment    = tomap({})
      }
    },
    {
      for lane, each in var.lanes : lane => {
        name               = "${var.name}-sender-${lane}"
        subscription       = "${var.name}-mail-sender-${lane}"
        filter             = "attributes.lane=\"${lane}\""
        min_instances      = 0
        max_instances      = each.max_instances
        pull_instances     = each.pull_instances
        pull_max_instances = null
        most_instances     = local.pulls ? each.pull_instances : each.max_instances
        connections        = coalesce(each.smtp_max_connections, var.sender.smtp_max_connections)
        environment        = local.lane_environments[lane]
      }
    },
  )

  most_instances = sum([for sender in local.senders : sender.most_instances])

  sender_names = { for lane, each in local.pulls ? google_cloud_run_v2_worker_pool.sender : google_cloud_run_v2_service.sender : lane => each.name }

  # What a lane's sender has other than the default one's.
  lane_environments = {
    for lane, each in var.lanes : lane => tomap(merge(
      { LANE = lane },
      local.pulls ? { MAIL_SUBSCRIPTION = "${var.name}-mail-sender-${lane}" } : {},
      each.smtp_max_connections == null ? {} : { SMTP_MAX_CONNECTIONS = each.smtp_max_connections },
    ))
  }

  # LANES: bulk=template:newsletter transport:marketing,reports
  lane_rules = {
    for lane, each in var.lanes : lane => concat(
      [for name in sort(each.templates) : "template:${name}"],
      [for name in sort(each.transports) : "transport:${name}"],
    )
  }
}
