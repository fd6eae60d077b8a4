"""Terraform's metrics, charts and alerts use what the services log and Google measures."""

from __future__ import annotations

import re

import pytest

from shared.delivery.model import Reason, State
from shared.errors import ErrorCode
from shared.observability.events import FIELDS, Event
from tests.unit.infra.module import ROOT, alerts, log_metrics, source, sources

WATCHING = "\n".join(source(name) for name in ("alerts.tf", "dashboard.tf", "slo.tf"))

#: Metric types in charts and alerts, from https://cloud.google.com/monitoring/api/metrics_gcp (2026-11-24), with the
#: monitored resource of each.
GOOGLE_METRICS = {
    "firestore.googleapis.com/api/request_count": "firestore.googleapis.com/Database",
    "firestore.googleapis.com/document/read_ops_count": "firestore.googleapis.com/Database",
    "firestore.googleapis.com/document/write_ops_count": "firestore.googleapis.com/Database",
    "pubsub.googleapis.com/subscription/dead_letter_message_count": "pubsub_subscription",
    "pubsub.googleapis.com/subscription/num_undelivered_messages": "pubsub_subscription",
    "pubsub.googleapis.com/subscription/oldest_unacked_message_age": "pubsub_subscription",
    "pubsub.googleapis.com/subscription/push_request_count": "pubsub_subscription",
    "pubsub.googleapis.com/subscription/push_request_latencies": "pubsub_subscription",
    "run.googleapis.com/container/cpu/utilizations": "cloud_run_revision",
    "run.googleapis.com/container/instance_count": "cloud_run_revision",
    "run.googleapis.com/container/memory/utilizations": "cloud_run_revision",
    "run.googleapis.com/request_count": "cloud_run_revision",
}

METRICS = [pytest.param(name, metric, id=name) for name, metric in log_metrics().items()]


@pytest.mark.parametrize(("name", "metric"), METRICS)
def test_a_metric_counts_entries_that_are_logged_by_fields_that_they_have(name: str, metric: dict[str, str]) -> None:
    event = Event(metric["event"])
    used = {*metric["labels"], *(metric[key] for key in ("value", "having") if key in metric)}
    assert used <= set(FIELDS[event])
    assert "value" not in metric or metric["value"].endswith("_ms"), "distributions are in milliseconds"


#: Each use of a metric from the logs: its name, and the text up to the next one, or the end of a chart's next line.
#: Labels are in there.
USES = re.findall(r"(?:metric_filters|logged)\.(\w+)((?:(?!\blogged\.).)*(?:\n +by .*)?)", WATCHING)
WORDS = {*State, *Reason, *ErrorCode, "deferred", "outage"}  # the last two: sender/worker/reports.py
WORDS |= {"recent", "long"}  # shared/delivery/pause.py

#: A label and its value or values in a PromQL selector.
SELECTED = re.compile(r'(\w+)(?:=~|!=|=)\\?"([a-zA-Z|-]+)\\?"')


def test_each_metric_is_watched() -> None:
    assert {name for name, _ in USES} == set(log_metrics())


@pytest.mark.parametrize(("name", "rest"), [pytest.param(*use, id=f"{use[0]}-{at}") for at, use in enumerate(USES)])
def test_a_use_of_a_metric_asks_for_labels_and_values_that_exist(name: str, rest: str) -> None:
    metric = log_metrics()[name]
    selected = SELECTED.findall(rest)
    assert {*re.findall(r"metric\.label\.(\w+)", rest), *(label for label, _ in selected)} <= set(metric["labels"])
    assert {*re.findall(r'metric\.label\.\w+!?=\\"([^"\\]+)\\"', rest), *(value for _, value in selected)} <= WORDS


def test_faults_of_the_mail_server_are_labels_and_codes_that_exist() -> None:
    found = re.search(r"server_faults += (.*)", source("alerts.tf"))
    assert found is not None
    selected = dict(SELECTED.findall(found.group(1)))
    assert set(selected) <= set(log_metrics()["attempts"]["labels"])
    assert {word for values in selected.values() for word in values.split("|")} <= WORDS


def in_promql(metric: str) -> str:
    """The metric's name in PromQL: https://cloud.google.com/monitoring/promql/promql-mapping."""
    domain, _, path = metric.partition("/")
    return ":".join(re.sub(r"\W", "_", part) for part in (domain, path))


def test_all_metrics_of_googles_exist() -> None:
    filters = set(re.findall(r'metric\.type=\\"([a-z]+\.googleapis\.com/[a-z_/]+)\\"', WATCHING))
    queries = set(re.findall(r"\b[a-z]+_googleapis_com:(?!user_)[a-z_]+", WATCHING))
    assert filters == set(GOOGLE_METRICS)
    assert queries <= {in_promql(metric) for metric in GOOGLE_METRICS}


def test_googles_metrics_are_used_with_their_resource() -> None:
    filters = {
        "mail_subscription_filter": "pubsub_subscription",
        "dead_letters_filter": "pubsub_subscription",
        "dead_events_filter": "pubsub_subscription",
        "events_filter": "pubsub_subscription",
        "dispatcher_filter": "cloud_run_revision",
        "filter": "cloud_run_revision",  # of both services, in a loop
        "database_filter": "firestore.googleapis.com/Database",
    }
    uses = re.findall(r'metric\.type=\\"([a-z]+\.googleapis\.com/[a-z_/]+)\\" \$\{(?:local\.)?(\w+)\}', WATCHING)
    assert len(uses) == len(re.findall(r'metric\.type=\\"[a-z]+\.googleapis', WATCHING))
    for metric, resource in uses:
        assert GOOGLE_METRICS[metric] == filters[resource]


def test_each_alert_has_a_section_in_the_runbook() -> None:
    headings = re.findall(r"^### (\S+)$", (ROOT / "docs" / "operating.md").read_text(), re.MULTILINE)
    assert alerts() == set(headings)


def test_each_metric_is_explained_in_the_docs() -> None:
    explained = (ROOT / "docs" / "operating.md").read_text()
    assert [name for name in log_metrics() if f"`{name}`" not in explained] == []


def test_metrics_from_the_logs_are_named_once_for_each_language() -> None:
    assert sources().count("logging.googleapis.com/user/") == 1
    assert sources().count("logging_googleapis_com:user_") == 1
