# State of versions up to 0.2.0, in which all resources were in this directory.

moved {
  from = google_artifact_registry_repository.images
  to   = module.core.google_artifact_registry_repository.images
}

moved {
  from = google_cloud_run_v2_service.dispatcher
  to   = module.core.google_cloud_run_v2_service.dispatcher
}

moved {
  from = google_cloud_run_v2_service.sender
  to   = module.core.google_cloud_run_v2_service.sender
}

moved {
  from = google_cloud_run_v2_service_iam_member.invokes_dispatcher
  to   = module.core.google_cloud_run_v2_service_iam_member.invokes_dispatcher
}

moved {
  from = google_cloud_run_v2_service_iam_member.invokes_sender
  to   = module.core.google_cloud_run_v2_service_iam_member.invokes_sender
}

moved {
  from = google_cloud_run_v2_worker_pool.sender
  to   = module.core.google_cloud_run_v2_worker_pool.sender
}

moved {
  from = google_cloud_scheduler_job.reconcile
  to   = module.core.google_cloud_scheduler_job.reconcile
}

moved {
  from = google_compute_address.egress
  to   = module.core.google_compute_address.egress
}

moved {
  from = google_compute_network.egress
  to   = module.core.google_compute_network.egress
}

moved {
  from = google_compute_router.egress
  to   = module.core.google_compute_router.egress
}

moved {
  from = google_compute_router_nat.egress
  to   = module.core.google_compute_router_nat.egress
}

moved {
  from = google_compute_subnetwork.egress
  to   = module.core.google_compute_subnetwork.egress
}

moved {
  from = google_eventarc_trigger.documents
  to   = module.core.google_eventarc_trigger.documents
}

moved {
  from = google_firestore_database.this
  to   = module.core.google_firestore_database.this
}

moved {
  from = google_firestore_field.expiry
  to   = module.core.google_firestore_field.expiry
}

moved {
  from = google_firestore_field.indexed
  to   = module.core.google_firestore_field.indexed
}

moved {
  from = google_firestore_field.unindexed
  to   = module.core.google_firestore_field.unindexed
}

moved {
  from = google_logging_metric.this
  to   = module.monitoring.google_logging_metric.this
}

moved {
  from = google_monitoring_alert_policy.this
  to   = module.monitoring.google_monitoring_alert_policy.this
}

moved {
  from = google_monitoring_custom_service.mail
  to   = module.monitoring.google_monitoring_custom_service.mail
}

moved {
  from = google_monitoring_dashboard.this
  to   = module.monitoring.google_monitoring_dashboard.this
}

moved {
  from = google_monitoring_slo.time_to_accept
  to   = module.monitoring.google_monitoring_slo.time_to_accept
}

moved {
  from = google_project_iam_custom_role.database
  to   = module.core.google_project_iam_custom_role.database
}

moved {
  from = google_project_iam_member.receives_events
  to   = module.core.google_project_iam_member.receives_events
}

moved {
  from = google_project_iam_member.uses_database
  to   = module.core.google_project_iam_member.uses_database
}

moved {
  from = google_project_service.this
  to   = module.core.google_project_service.this
}

moved {
  from = google_project_service_identity.pubsub
  to   = module.core.google_project_service_identity.this["pubsub"]
}

moved {
  from = google_pubsub_subscription.dead_letters_pull
  to   = module.core.google_pubsub_subscription.dead_letters_pull
}

moved {
  from = google_pubsub_subscription.dead_letters_push
  to   = module.core.google_pubsub_subscription.dead_letters_push
}

moved {
  from = google_pubsub_subscription.mail
  to   = module.core.google_pubsub_subscription.mail
}

moved {
  from = google_pubsub_subscription_iam_member.forwards_dead_letters
  to   = module.core.google_pubsub_subscription_iam_member.forwards_dead_letters
}

moved {
  from = google_pubsub_subscription_iam_member.sender_pulls
  to   = module.core.google_pubsub_subscription_iam_member.sender_pulls
}

moved {
  from = google_pubsub_topic.dead_letters
  to   = module.core.google_pubsub_topic.this["dead_letters"]
}

moved {
  from = google_pubsub_topic.lifecycle[0]
  to   = module.core.google_pubsub_topic.this["lifecycle"]
}

moved {
  from = google_pubsub_topic.mail
  to   = module.core.google_pubsub_topic.this["mail"]
}

moved {
  from = google_pubsub_topic_iam_member.dispatcher_publishes
  to   = module.core.google_pubsub_topic_iam_member.dispatcher_publishes
}

moved {
  from = google_pubsub_topic_iam_member.forwards_dead_letters
  to   = module.core.google_pubsub_topic_iam_member.forwards_dead_letters
}

moved {
  from = google_pubsub_topic_iam_member.sender_refuses
  to   = module.core.google_pubsub_topic_iam_member.sender_refuses
}

moved {
  from = google_secret_manager_secret.created
  to   = module.core.google_secret_manager_secret.created
}

moved {
  from = google_secret_manager_secret_iam_member.sender_reads
  to   = module.core.google_secret_manager_secret_iam_member.sender_reads
}

moved {
  from = google_service_account.dispatcher
  to   = module.core.google_service_account.dispatcher
}

moved {
  from = google_service_account.events
  to   = module.core.google_service_account.events
}

moved {
  from = google_service_account.push
  to   = module.core.google_service_account.push
}

moved {
  from = google_service_account.scheduler
  to   = module.core.google_service_account.scheduler
}

moved {
  from = google_service_account.sender
  to   = module.core.google_service_account.sender
}

moved {
  from = google_storage_bucket_iam_member.sender_attaches
  to   = module.core.google_storage_bucket_iam_member.sender_attaches
}

moved {
  from = module.monitoring.google_monitoring_alert_policy.this["slo-burn"]
  to   = module.monitoring.google_monitoring_alert_policy.slo_burn
}
