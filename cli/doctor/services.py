"""The project's APIs, the two services with their secrets, and the scheduler's job. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cli.doctor.answers import APPLY, Answer, items, judge, last_part, mapping, moment, number, text, texts
from cli.doctor.finding import Fault, Finding, judged, skipped, unknown
from cli.doctor.installation import Installation
from cli.doctor.questions import APIS
from cli.times import with_age

#: A run is never this late.
LATE = timedelta(minutes=5)

#: What the target answered, as the job's `status` has it
#: (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto).
_CODES = {
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT (400)",
    4: "DEADLINE_EXCEEDED (504)",
    5: "NOT_FOUND (404)",
    7: "PERMISSION_DENIED (403)",
    8: "RESOURCE_EXHAUSTED (429)",
    13: "INTERNAL (500)",
    14: "UNAVAILABLE (503)",
    16: "UNAUTHENTICATED (401)",
}


def apis(answer: Answer) -> Finding:
    """Whether all APIs that the module enables are enabled."""

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        states = {last_part(text(each, "name")): text(each, "state") for each in items(data, "services")}
        missing = [api for api in APIS if states.get(f"{api}.googleapis.com") != "ENABLED"]
        return [Fault(f"not enabled: {', '.join(missing)}", APPLY)] if missing else []

    return judge("apis", answer, "the project", faults, f"{len(APIS)} are enabled")


def addresses(service: Answer) -> frozenset[str]:
    """All addresses of a service, without a slash at the end; empty if they are not known."""
    known = [text(service.data, "uri"), *texts(service.data, "urls")]
    return frozenset(address.rstrip("/") for address in known if address)


def revision(check: str, name: str, answer: Answer) -> Finding:
    """Whether the latest revision of a service or worker pool is ready, and gets all traffic (or instances)."""
    serving = last_part(text(answer.data, "latestReadyRevision"))

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        return [*_not_ready(data), *_elsewhere(name, data), *_stopped(data)]

    return judge(check, answer, name, faults, f"{serving} serves")


def _not_ready(service: Mapping[str, Any]) -> Iterator[Fault]:
    created, ready = (last_part(text(service, f"latest{kind}Revision")) for kind in ("Created", "Ready"))
    said = text(service, "terminalCondition", "message")
    if not ready or created != ready:
        yield Fault(
            f"{created or 'the latest revision'} is not ready"
            + (f", {ready} serves" if ready else "")
            + (f" ({said})" if said else ""),
            "read the service's log, then docs/deploying.md#when-an-apply-fails",
        )
    elif text(service, "terminalCondition", "state") != "CONDITION_SUCCEEDED":
        yield Fault(
            f"its state is {text(service, 'terminalCondition', 'state') or 'unknown'}" + (f" ({said})" if said else ""),
            "wait if it is being updated, otherwise read the service's log",
        )


def _elsewhere(name: str, service: Mapping[str, Any]) -> Iterator[Fault]:
    """Traffic that was pinned to a revision, as a roll-back in a hurry does."""
    shares = [*items(service, "trafficStatuses"), *items(service, "instanceSplitStatuses")]
    pinned = [each for each in shares if number(each, "percent") and not text(each, "type").endswith("_LATEST")]
    if pinned:
        names = ", ".join(last_part(text(each, "revision")) or "a revision" for each in pinned)
        command = (
            "worker-pools update-instance-split" if "instanceSplitStatuses" in service else "services update-traffic"
        )
        yield Fault(
            f"pinned to {names}: new revisions get nothing",
            f"gcloud run {command} {name} --to-latest (docs/deploying.md#roll-back)",
        )


def _stopped(service: Mapping[str, Any]) -> Iterator[Fault]:
    if number(service, "scaling", "manualInstanceCount") == 0:
        yield Fault("it has no instances: all mail waits", f"{APPLY} (docs/operating.md#stop-all-mail)")


def secret_references(sender: Answer) -> dict[str, tuple[str, str]]:
    """The secrets that the sender reads: setting → secret (an id or a full name) and version."""
    references = {}
    for container in items(sender.data, "template", "containers"):
        for variable in items(container, "env"):
            reference = mapping(variable, "valueSource", "secretKeyRef")
            if reference:
                references[text(variable, "name")] = (text(reference, "secret"), text(reference, "version") or "latest")
    return references


def secrets(references: Mapping[str, tuple[str, str]], answers: Sequence[Answer], sender: Answer) -> Finding:
    """Whether each version that the sender reads is enabled. `answers` are about `references`, in their order."""
    if sender.data is None:
        return unknown("secrets", "can't tell which without the sender")
    if not references:
        return skipped("secrets", "the sender reads none")
    faults, unclear = [], []
    for (setting, (secret, version)), answer in zip(references.items(), answers, strict=True):
        name = f"version {version} of {last_part(secret)} ({setting})"
        if answer.unclear:
            unclear.append(f"{name}: {answer.unclear}")
        elif answer.data is None:
            faults.append(Fault(f"{name} does not exist", "gcloud secrets versions add (docs/deploying.md, step 3)"))
        elif text(answer.data, "state") != "ENABLED":
            faults.append(
                Fault(
                    f"{name} is {text(answer.data, 'state')}", "docs/deploying.md#rotate-a-secret: name another version"
                )
            )
    if unclear and not faults:
        return unknown("secrets", "; ".join(unclear))
    return judged("secrets", faults, ", ".join(f"{setting} is enabled" for setting in references))


def scheduler(names: Installation, answer: Answer, dispatcher: frozenset[str], now: datetime) -> Finding:
    """Whether the reconciler is called, and answered well the last time. `dispatcher`: its addresses, if known."""
    ran = moment(answer.data, "lastAttemptTime")

    def faults(data: Mapping[str, Any]) -> list[Fault]:
        return [*_not_scheduled(data, now), *_last_run(data), *_other_target(data, dispatcher)]

    name = last_part(names.scheduler_job)
    return judge("scheduler", answer, name, faults, f"last run {with_age(ran, now)}" if ran else "")


def _not_scheduled(job: Mapping[str, Any], now: datetime) -> Iterator[Fault]:
    state, following = text(job, "state"), moment(job, "scheduleTime")
    if state != "ENABLED":
        yield Fault(
            f"it is {state or 'in no state'}", "gcloud scheduler jobs resume (docs/operating.md#reconciler-silent)"
        )
    elif following is not None and following < now - LATE:
        yield Fault(f"its run of {with_age(following, now)} is overdue", "docs/operating.md#reconciler-silent")
    elif moment(job, "lastAttemptTime") is None:
        yield Fault("it has not run yet", "run this again in two minutes")


def _last_run(job: Mapping[str, Any]) -> Iterator[Fault]:
    code = number(job, "status", "code")
    if code:
        yield Fault(f"its last run failed: {_CODES.get(int(code), int(code))}", "docs/operating.md#reconciler-silent")


def _other_target(job: Mapping[str, Any], dispatcher: frozenset[str]) -> Iterator[Fault]:
    target, audience = text(job, "httpTarget", "uri"), text(job, "httpTarget", "oidcToken", "audience")
    if dispatcher and target.partition("?")[0].removesuffix("/reconcile") not in dispatcher:
        yield Fault(f"it calls {target or 'nothing'}, not the dispatcher's /reconcile", APPLY)
    elif dispatcher and audience not in dispatcher:
        yield Fault(f"the audience of its token is {audience or 'missing'}, not the dispatcher", APPLY)
