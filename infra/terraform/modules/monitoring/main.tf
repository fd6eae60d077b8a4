locals {
  labels = merge({ app = var.name }, var.labels)

  # The sender and the subscription of each lane.
  lanes = merge({ default = { sender = var.resources.sender, subscription = var.resources.mail_subscription } }, var.resources.lanes)
}
