"""Which request answers what: Google's REST APIs, each method with the permission that its reference names. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from cli.doctor.answers import Question
from cli.doctor.installation import Installation
from cli.times import rfc3339

#: What the module enables in every case (infra/terraform/modules/core/apis.tf).
APIS = (
    "artifactregistry",
    "cloudresourcemanager",
    "cloudscheduler",
    "eventarc",
    "eventarcpublishing",
    "firestore",
    "iam",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "secretmanager",
)

#: How far back the newest figure of a metric may lie: Pub/Sub's are four minutes late at most
#: (https://cloud.google.com/monitoring/api/metrics_gcp_p_z).
RECENT = timedelta(minutes=10)


def apis(names: Installation) -> Question:
    """https://cloud.google.com/service-usage/docs/reference/rest/v1/services/batchGet."""
    wanted = urlencode([("names", f"projects/{names.project}/services/{api}.googleapis.com") for api in APIS])
    return Question(
        "serviceusage", f"v1/projects/{names.project}/services:batchGet?{wanted}", "serviceusage.services.get"
    )


def project(names: Installation) -> Question:
    """https://cloud.google.com/resource-manager/reference/rest/v3/projects/get."""
    return Question("cloudresourcemanager", f"v3/projects/{names.project}", "resourcemanager.projects.get")


def service(names: Installation, name: str) -> Question:
    """https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services/get."""
    return Question("run", f"v2/{_in_region(names)}/services/{name}", "run.services.get")


def worker_pool(names: Installation, name: str) -> Question:
    """https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.workerPools/get."""
    return Question("run", f"v2/{_in_region(names)}/workerPools/{name}", "run.workerpools.get")


def secret_version(names: Installation, secret: str, version: str) -> Question:
    """https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/get.

    `secret` is an id, or a full name if it belongs to another project.
    """
    full = secret if secret.startswith("projects/") else f"projects/{names.project}/secrets/{secret}"
    return Question("secretmanager", f"v1/{full}/versions/{version}", "secretmanager.versions.get")


def trigger(names: Installation) -> Question:
    """https://cloud.google.com/eventarc/docs/reference/rest/v1/projects.locations.triggers/get."""
    return Question("eventarc", f"v1/{names.trigger}", "eventarc.triggers.get")


def scheduler_job(names: Installation) -> Question:
    """https://cloud.google.com/scheduler/docs/reference/rest/v1/projects.locations.jobs/get."""
    return Question("cloudscheduler", f"v1/{names.scheduler_job}", "cloudscheduler.jobs.get")


def subscription(names: Installation, name: str) -> Question:
    """https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions/get."""
    return Question("pubsub", f"v1/projects/{names.project}/subscriptions/{name}", "pubsub.subscriptions.get")


def database(names: Installation) -> Question:
    """https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases/get."""
    return Question(
        "firestore", f"v1/projects/{names.project}/databases/{names.database}", "datastore.databases.getMetadata"
    )


def fields(names: Installation) -> Question:
    """https://cloud.google.com/firestore/docs/reference/rest/v1/projects.databases.collectionGroups.fields/list.

    Only fields with a setting of their own can be listed, so the filter must be this one.
    """
    group = quote(names.collection_id, safe="")
    parent = f"projects/{names.project}/databases/{names.database}/collectionGroups/{group}"
    query = urlencode({"filter": "indexConfig.usesAncestorConfig:false OR ttlConfig:*", "pageSize": 1000})
    return Question("firestore", f"v1/{parent}/fields?{query}", "datastore.indexes.list")


def alert_policies(names: Installation) -> Question:
    """https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies/list."""
    return Question(
        "monitoring", f"v3/projects/{names.project}/alertPolicies?pageSize=1000", "monitoring.alertPolicies.list"
    )


def figures(names: Installation, subscription: str, metric: str, now: datetime) -> Question:
    """https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list, of one subscription."""
    query = {
        "filter": f'metric.type="pubsub.googleapis.com/subscription/{metric}" '
        f'AND resource.labels.subscription_id="{subscription}"',
        "interval.startTime": rfc3339(now - RECENT),
        "interval.endTime": rfc3339(now),
    }
    return Question(
        "monitoring", f"v3/projects/{names.project}/timeSeries?{urlencode(query)}", "monitoring.timeSeries.list"
    )


# --- Policies ---


def project_policy(names: Installation) -> Question:
    """https://cloud.google.com/resource-manager/reference/rest/v3/projects/getIamPolicy."""
    return Question(
        "cloudresourcemanager",
        f"v3/projects/{names.project}:getIamPolicy",
        "resourcemanager.projects.getIamPolicy",
        is_post=True,
    )


def topic_policy(names: Installation, topic: str) -> Question:
    """https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/getIamPolicy."""
    return Question("pubsub", f"v1/projects/{names.project}/topics/{topic}:getIamPolicy", "pubsub.topics.getIamPolicy")


def subscription_policy(names: Installation, subscription: str) -> Question:
    """https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions/getIamPolicy."""
    return Question(
        "pubsub",
        f"v1/projects/{names.project}/subscriptions/{subscription}:getIamPolicy",
        "pubsub.subscriptions.getIamPolicy",
    )


def account_policy(names: Installation, email: str) -> Question:
    """https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts/getIamPolicy."""
    return Question(
        "iam",
        f"v1/projects/{names.project}/serviceAccounts/{quote(email)}:getIamPolicy",
        "iam.serviceAccounts.getIamPolicy",
        is_post=True,
    )


def service_policy(names: Installation, name: str) -> Question:
    """https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services/getIamPolicy."""
    return Question("run", f"v2/{_in_region(names)}/services/{name}:getIamPolicy", "run.services.getIamPolicy")


def _in_region(names: Installation) -> str:
    return f"projects/{names.project}/locations/{names.region}"
