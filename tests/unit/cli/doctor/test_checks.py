"""Each check says what is wrong with one installation, in which one thing is wrong."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import pytest

from cli.doctor.answers import Answer, Question
from cli.doctor.database import QUERIED, Counted, unread
from cli.doctor.examination import CHECKS, examine
from cli.doctor.finding import Finding, Verdict
from cli.doctor.installation import Installation
from cli.doctor.subscriptions import starts
from tests.unit.cli.doctor.apis import FILES, NAMES, NOW, Apis, Change, answer, body, denied, without_permission
from tests.unit.infra.module import source

PULLING = dataclasses.replace(NAMES, pulls=True)
EVENTS = "eventarc-eur3-firepost-documents-sub-123"


def findings(changed: dict[str, Answer] | None = None, names: Installation = NAMES) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine(names, Apis(changed).ask, NOW)}


def not_fine(found: dict[str, Finding]) -> set[str]:
    return {check for check, finding in found.items() if not finding.is_fine}


def index(field: str, state: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        for each in data["fields"]:
            if each["name"].endswith(f"/{field}"):
                for one in each["indexConfig"]["indexes"]:
                    one["state"] = state

    return change


def without_indexes(field: str) -> Change:
    """The setting of a field, or of a map around it, is that it has no index."""

    def change(data: dict[str, Any]) -> None:
        queried = [f"/fields/{each}" for each in QUERIED if each.startswith(field)]
        data["fields"] = [each for each in data["fields"] if not each["name"].endswith(tuple(queried))]
        data["fields"].append(
            {"name": f"projects/p/databases/d/collectionGroups/mail/fields/{field}", "indexConfig": {}}
        )

    return change


def setting(name: str, value: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        for variable in data["template"]["containers"][0]["env"]:
            if variable["name"] == name:
                variable["value"] = value

    return change


def without_member(role: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["bindings"] = [each for each in data["bindings"] if each["role"] != role]

    return change


def expiry(state: str | None) -> Change:
    def change(data: dict[str, Any]) -> None:
        data["fields"][-1]["ttlConfig"] = {"state": state} if state else {}

    return change


def all_of(*changes: Change) -> Change:
    def change(data: dict[str, Any]) -> None:
        for each in changes:
            each(data)

    return change


def put(*path: Any) -> Change:
    """Set the value at a path of keys and positions; the last one given is the value."""
    *keys, last, value = path

    def change(data: Any) -> None:
        for key in keys:
            data = data[key]
        data[last] = value

    return change


def test_an_installation_in_order_is_fine() -> None:
    found = findings()
    assert {check: finding.verdict for check, finding in found.items()} == dict.fromkeys(CHECKS, Verdict.OK)
    assert all(finding.detail and not finding.remedy for finding in found.values())


def test_checks_come_in_their_order() -> None:
    assert tuple(finding.check for finding in examine(NAMES, Apis().ask, NOW)) == CHECKS


PULLED: Change = put("pushConfig", {})
TO_REVISION = {
    "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
    "revision": "firepost-sender-00006-old",
    "percent": 100,
}
SPLIT = {"type": "INSTANCE_SPLIT_ALLOCATION_TYPE_REVISION", "revision": "firepost-sender-00002-old", "percent": 100}
REVISIONS = "projects/shop-production/locations/europe-west4/services/firepost-sender/revisions/"

WRONG: list[tuple[str, Change, str, str]] = [
    ("apis", put("services", 3, "state", "DISABLED"), "apis", "not enabled: eventarc"),
    ("apis", put("services", []), "apis", "artifactregistry, cloudresourcemanager"),
    ("trigger", put("conditions", {"pubsub": {"code": "NOT_FOUND", "message": "gone"}}), "trigger", "pubsub (gone)"),
    ("trigger", put("eventFilters", 0, "value", "google.cloud.audit.log.v1.written"), "trigger", "filter for type"),
    ("trigger", put("eventFilters", 1, "value", "other"), "trigger", "filter for database is other"),
    ("trigger", put("eventFilters", 2, "value", "mails/{document}"), "trigger", "document is mails/{document}"),
    ("trigger", put("eventFilters", 2, "value", "mail/a"), "trigger", "document is mail/a"),
    ("trigger", put("eventFilters", []), "trigger", "document is missing"),
    ("trigger", put("destination", "cloudRun", "service", "x"), "trigger", "to x, not to firepost-dispatcher"),
    ("trigger", put("destination", {}), "trigger", "to nothing"),
    ("trigger", put("serviceAccount", "x@y"), "trigger", "does not call as firepost-events@"),
    ("events-subscription", put("messageRetentionDuration", "86400s"), "events-subscription", "1.0 days, not for 7"),
    ("events-subscription", put("deadLetterPolicy", {}), "events-subscription", "no dead-letter topic"),
    ("events-subscription", put("pushConfig", "oidcToken", {}), "events-subscription", "its tokens is missing"),
    (
        "events-subscription",
        put("pushConfig", "oidcToken", "audience", "https://x.run.app"),
        "events-subscription",
        "is https://x.run.app",
    ),
    ("mail-subscription", PULLED, "mail-subscription", "no push endpoint: everything waits"),
    ("mail-subscription", put("state", "RESOURCE_ERROR"), "mail-subscription", "its state is RESOURCE_ERROR"),
    ("mail-subscription", put("topic", "_deleted-topic_"), "mail-subscription", "lost its topic"),
    ("mail-subscription", put("detached", True), "mail-subscription", "lost its topic"),
    (
        "mail-subscription",
        put("pushConfig", "pushEndpoint", "https://firepost-sender-x1y2z3-ez.a.run.app/mail"),
        "mail-subscription",
        "pushes to https://firepost-sender-x1y2z3-ez.a.run.app/mail",
    ),
    (
        "mail-subscription",
        put("pushConfig", "oidcToken", "serviceAccountEmail", "x@y"),
        "mail-subscription",
        "those of x@y, not of firepost-push@",
    ),
    (
        "mail-subscription",
        put("deadLetterPolicy", "deadLetterTopic", "projects/p/topics/x"),
        "mail-subscription",
        "goes to x, not to firepost-mail-dead-letter",
    ),
    (
        "dead-letters-recorded",
        put("pushConfig", "pushEndpoint", "https://firepost-dispatcher-x1y2z3-ez.a.run.app/"),
        "dead-letters-recorded",
        "pushes to",
    ),
    ("dead-letters-kept", put("messageRetentionDuration", "600s"), "dead-letters-kept", "keeps messages for 0.0 days"),
    (
        "dead-events-kept",
        put("pushConfig", {"pushEndpoint": "https://x/"}),
        "dead-events-kept",
        "pushes to https://x/ instead of being pulled",
    ),
    *(
        (name, without_member(role), "pubsub-agent", f"gcp-sa-pubsub.iam.gserviceaccount.com has not {role}")
        for name, role in (
            ("policy-topic-firepost-mail-dead-letter", "roles/pubsub.publisher"),
            ("policy-topic-firepost-document-events-dead-letter", "roles/pubsub.publisher"),
            ("policy-subscription-firepost-mail-sender", "roles/pubsub.subscriber"),
            (f"policy-subscription-{EVENTS}", "roles/pubsub.subscriber"),
            ("policy-account-events", "roles/iam.serviceAccountTokenCreator"),
            ("policy-account-push", "roles/iam.serviceAccountTokenCreator"),
        )
    ),
    ("policy-dispatcher", put("bindings", 0, "members", []), "callers", "firepost-scheduler@"),
    ("policy-sender", put("bindings", []), "callers", "firepost-push@"),
    ("policy-project", without_member("roles/eventarc.eventReceiver"), "callers", "firepost-events@"),
    ("policy-project", without_member("roles/eventarc.serviceAgent"), "callers", "gcp-sa-eventarc"),
    (
        "sender",
        put("latestCreatedRevision", REVISIONS + "firepost-sender-00008-new"),
        "sender",
        "firepost-sender-00008-new is not ready, firepost-sender-00007-abc serves",
    ),
    (
        "sender",
        all_of(put("latestReadyRevision", ""), put("terminalCondition", "message", "Secret not found")),
        "sender",
        "is not ready (Secret not found)",
    ),
    ("sender", put("trafficStatuses", [TO_REVISION]), "sender", "pinned to firepost-sender-00006-old"),
    ("dispatcher", put("terminalCondition", "state", "CONDITION_FAILED"), "dispatcher", "state is CONDITION_FAILED"),
    ("dispatcher", put("terminalCondition", {}), "dispatcher", "state is unknown"),
    ("secret-version", put("state", "DISABLED"), "secrets", "version 1 of firepost-smtp-connection-uri"),
    ("secret-version", put("state", "DESTROYED"), "secrets", "is DESTROYED"),
    ("scheduler-job", put("state", "PAUSED"), "scheduler", "it is PAUSED"),
    ("scheduler-job", put("status", {"code": 7}), "scheduler", "PERMISSION_DENIED (403)"),
    ("scheduler-job", put("status", {"code": 99}), "scheduler", "failed: 99"),
    ("scheduler-job", put("scheduleTime", "2026-11-26T11:00:00Z"), "scheduler", "is overdue"),
    ("scheduler-job", lambda data: data.pop("lastAttemptTime"), "scheduler", "has not run yet"),
    ("scheduler-job", put("httpTarget", "uri", "https://x/reconcile"), "scheduler", "calls https://x/reconcile"),
    ("scheduler-job", put("httpTarget", "oidcToken", "audience", "https://x"), "scheduler", "audience of its token"),
    ("database", put("databaseEdition", "ENTERPRISE"), "database", "FIRESTORE_NATIVE ENTERPRISE"),
    ("database", put("type", "DATASTORE_MODE"), "database", "DATASTORE_MODE STANDARD"),
    *(("fields", without_indexes(field), "indexes", f"{field} has no ascending index") for field in QUERIED),
    ("fields", without_indexes("delivery"), "indexes", "delivery.state has no ascending index"),
    ("fields", index("delivery.state", "CREATING"), "indexes", "an index of delivery.state is CREATING"),
    ("fields", index("delivery.info.accepted", "NEEDS_REPAIR"), "indexes", "delivery.info.accepted is NEEDS_REPAIR"),
    ("fields", expiry("CREATING"), "ttl", "still setting it up"),
    ("fields", expiry("NEEDS_REPAIR"), "ttl", "NEEDS_REPAIR"),
    ("fields", expiry(None), "ttl", "does not delete documents by delivery.expireAt (no setting)"),
    ("alert-policies", put("alertPolicies", []), "alerts", "no alert policy is called 'firepost: …'"),
    (
        "alert-policies",
        put("alertPolicies", 2, "enabled", False),
        "alerts",
        "disabled: firepost: many mails end in ERROR",
    ),
    ("figures-mail", put("timeSeries", 0, "points", 0, "value", "int64Value", "301"), "backlog", "waited for 301 s"),
    ("figures-events", put("timeSeries", 0, "points", 0, "value", {"doubleValue": 900.0}), "events-backlog", "900 s"),
    (
        "figures-dead-letters",
        put("timeSeries", 0, "points", 0, "value", "int64Value", "1200"),
        "dead-letters",
        "1,200 wait",
    ),
    ("figures-dead-events", put("timeSeries", 0, "points", 0, "value", "int64Value", "1"), "dead-events", "1 wait"),
]


@pytest.mark.parametrize(("file", "change", "check", "words"), WRONG)
def test_what_is_wrong_is_named_with_what_to_do(file: str, change: Change, check: str, words: str) -> None:
    found = findings({file: answer(file, change)})
    assert found[check].verdict is Verdict.WRONG
    assert words in found[check].detail
    assert found[check].remedy
    assert not_fine(found) <= {check, "events-backlog"}


FINE: list[tuple[str, Change, str, str]] = [
    ("scheduler-job", lambda data: data.pop("status"), "scheduler", "last run 2026-11-26 12:00:00Z (29 s ago)"),
    ("mail-subscription", lambda data: data.pop("state"), "mail-subscription", "keeps messages for 7 days"),
    (
        "events-subscription",
        all_of(
            put("pushConfig", "pushEndpoint", "https://firepost-dispatcher-415104041262.europe-west4.run.app/?x=y"),
            put("pushConfig", "oidcToken", "audience", "https://firepost-dispatcher-415104041262.europe-west4.run.app"),
        ),
        "events-subscription",
        "pushes",
    ),
    ("sender", put("trafficStatuses", 0, "revision", "firepost-sender-00007-abc"), "sender", "00007-abc serves"),
    ("sender", put("template", "containers", []), "secrets", "reads none"),
    ("alert-policies", put("alertPolicies", 7, "notificationChannels", []), "alerts", "8 are enabled; they notify 1"),
    (
        "alert-policies",
        lambda data: [each.pop("notificationChannels", None) for each in data["alertPolicies"]],
        "alerts",
        "notify nobody (notification_channels)",
    ),
    ("figures-mail", lambda data: data.clear(), "backlog", "no figure yet"),
    ("figures-dead-letters", put("timeSeries", []), "dead-letters", "no figure yet"),
    ("database", lambda data: data.pop("databaseEdition"), "database", "Standard edition"),
    ("fields", put("fields", []), "indexes", "3 queried fields have theirs"),
    ("dispatcher", setting("TTL_EXPIRE_TYPE", "never"), "ttl", "documents are kept"),
]


@pytest.mark.parametrize(("file", "change", "check", "words"), FINE)
def test_what_may_be_so_is_fine(file: str, change: Change, check: str, words: str) -> None:
    found = findings({file: answer(file, change)})
    assert found[check].is_fine
    assert words in found[check].detail


def test_a_role_on_the_whole_project_counts() -> None:
    policy = body("policy-project")
    agent = "serviceAccount:service-415104041262@gcp-sa-pubsub.iam.gserviceaccount.com"
    policy["bindings"].append({"role": "roles/pubsub.publisher", "members": [agent]})
    topic = "policy-topic-firepost-mail-dead-letter"
    assert findings({"policy-project": Answer(policy), topic: Answer({})})["pubsub-agent"].is_fine


#: The checks that can't be made without an answer, in addition to the one that it is about.
DEPENDING = {
    "trigger": {"trigger", "events-subscription"},
    "sender": {"sender", "secrets"},
    "project": {"pubsub-agent", "callers"},
    "policy-project": {"callers"},
    "fields": {"indexes", "ttl"},
}


def asked_files(names: Installation = NAMES) -> Iterable[str]:
    apis = Apis()
    list(examine(names, apis.ask, NOW))
    return dict.fromkeys(apis.asked)


@pytest.mark.parametrize("file", asked_files())
def test_without_a_permission_a_check_can_t_tell_and_names_it(file: str) -> None:
    apis = Apis()
    permission = ""

    def ask(question: Question) -> Answer:
        nonlocal permission
        given = apis.ask(question)
        if apis.asked[-1] != file:
            return given
        permission = question.permission
        return without_permission(question)

    found = {finding.check: finding for finding in examine(NAMES, ask, NOW)}
    unclear = {check for check, finding in found.items() if finding.verdict is Verdict.UNKNOWN}
    assert unclear
    assert unclear == DEPENDING.get(file, unclear)
    assert any(permission in found[check].detail for check in unclear)
    assert not [finding for finding in found.values() if finding.verdict is Verdict.WRONG]


@pytest.mark.parametrize("file", sorted(set(asked_files()) - {"project", "policy-project"}))
def test_what_is_missing_is_wrong(file: str) -> None:
    found = findings({file: Answer(None)})
    missing = [finding for finding in found.values() if finding.verdict is Verdict.WRONG]
    assert missing
    assert all(finding.remedy for finding in missing)


def test_nothing_breaks_if_every_answer_is_empty_or_denied() -> None:
    for given in (Answer({}), Answer(None), Answer(None, "can't tell")):

        def ask(_: Question, given: Answer = given) -> Answer:
            return given

        found = list(examine(NAMES, ask, NOW))
        assert {finding.check for finding in found} <= set(CHECKS)
        assert not all(finding.is_fine for finding in found)


def test_a_worker_pool_pulls() -> None:
    found = findings({"mail-subscription": answer("mail-subscription", PULLED)}, PULLING)
    assert not_fine(found) == set()
    assert "firepost-sender-00003-xyz serves" in found["sender"].detail
    assert "is pulled" in found["mail-subscription"].detail


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("scaling", {"manualInstanceCount": 0}), "no instances: all mail waits"),
        (put("instanceSplitStatuses", [SPLIT]), "pinned to firepost-sender-00002-old"),
    ],
)
def test_a_worker_pool_that_does_not_work_is_named(change: Change, words: str) -> None:
    found = findings({"worker-pool": answer("worker-pool", change)}, PULLING)
    assert words in found["sender"].detail


def test_alerts_are_somebody_else_s_without_modules_monitoring() -> None:
    apis = Apis()
    found = {each.check: each for each in examine(dataclasses.replace(NAMES, is_watched=False), apis.ask, NOW)}
    assert found["alerts"].verdict is Verdict.SKIPPED
    assert "alert-policies" not in apis.asked


def test_each_expected_answer_is_used() -> None:
    assert {*asked_files(), *asked_files(PULLING)} == set(FILES)


def test_what_fails_without_an_index_is_named() -> None:
    found = findings({"fields": answer("fields", without_indexes("delivery.errorCode"))})["indexes"]
    assert "counts, list --error-code and retry --error-code fail without it" in found.remedy
    assert "reconciler" not in found.remedy


def test_the_queried_fields_are_those_that_the_module_indexes() -> None:
    assert f"queried_fields = {list(QUERIED)}".replace("'", '"') in source("firestore.tf")


@pytest.mark.parametrize(
    ("counted", "verdict", "words"),
    [
        (Counted(0, 0, 0), Verdict.SKIPPED, "there are none"),
        (Counted(1200, 1200, 0), Verdict.OK, "1,200, each read by the dispatcher"),
        (Counted(10, 12, 0), Verdict.OK, "10, each read"),
        (Counted(1200, 1198, 2), Verdict.OK, "2 are new"),
        (Counted(1200, 1199, 0), Verdict.WRONG, "1 of 1,200 have no delivery.state"),
        (Counted(1200, 1000, 199), Verdict.WRONG, "200 of 1,200"),
    ],
)
def test_documents_without_a_state_are_lost_unless_they_may_be_new(
    counted: Counted, verdict: Verdict, words: str
) -> None:
    finding = unread(counted)
    assert finding.verdict is verdict
    assert words in finding.detail


def test_a_trigger_delivers_two_minutes_after_its_creation() -> None:
    assert str(starts(answer("trigger"))) == "2026-11-20 09:07:00.123456+00:00"
    assert starts(Answer(None, "can't tell")) is None


def test_a_denial_without_details_is_one_too() -> None:
    assert "details" not in denied(None)["error"]


LANES = dataclasses.replace(NAMES, lanes=("bulk",))
FILTERED: Change = put("filter", 'NOT attributes.lane="bulk"')


def lane_answer(question: Question, change: Change = lambda _: None) -> Answer | None:
    """The answer about the lane's own subscription or sender; None if it is about something else."""
    if not question.path.endswith("-bulk"):
        return None
    file = "mail-subscription" if question.api == "pubsub" else "sender"
    text = json.dumps(body(file)).replace("firepost-sender-", "firepost-sender-bulk-")
    data = json.loads(text)
    if question.api == "pubsub":
        data["filter"] = 'attributes.lane="bulk"'
        change(data)
    return Answer(data)


def lane_findings(
    change: Change = lambda _: None, default: Change = FILTERED, names: Installation = LANES
) -> dict[str, list[Finding]]:
    apis = Apis({"mail-subscription": answer("mail-subscription", default)})
    found: dict[str, list[Finding]] = {}
    for each in examine(names, lambda question: lane_answer(question, change) or apis.ask(question), NOW):
        found.setdefault(each.check, []).append(each)
    return found


def test_each_lane_has_a_subscription_and_a_sender() -> None:
    found = lane_findings()
    assert {check for check, each in found.items() if not all(one.is_fine for one in each)} == set()
    assert [one.detail for one in found["lane bulk"]] == [
        "firepost-mail-sender-bulk pushes, and keeps messages for 7 days",
        "firepost-sender-bulk-00007-abc serves",
    ]


@pytest.mark.parametrize(
    ("change", "default", "check", "words"),
    [
        (
            put("filter", "attributes.lane"),
            FILTERED,
            "lane bulk",
            'its filter is attributes.lane, not attributes.lane="bulk"',
        ),
        (put("pushConfig", {}), FILTERED, "lane bulk", "no push endpoint"),
        (lambda _: None, put("filter", ""), "mail-subscription", 'missing, not NOT attributes.lane="bulk"'),
    ],
)
def test_a_lane_that_gets_the_wrong_messages_is_named(change: Change, default: Change, check: str, words: str) -> None:
    found = lane_findings(change, default)
    assert words in found[check][0].detail
    assert {each for each, some in found.items() if not all(one.is_fine for one in some)} == {check}


def test_a_filter_that_is_left_of_a_lane_is_named() -> None:
    found = lane_findings(names=dataclasses.replace(NAMES, lanes=()))
    assert found["mail-subscription"][0].detail == 'its filter is NOT attributes.lane="bulk", not none'


def test_without_the_modules_outputs_lanes_are_not_known() -> None:
    found = lane_findings(names=dataclasses.replace(NAMES, lanes=None))
    assert found["mail-subscription"][0].is_fine
    assert "lane bulk" not in found
