"""One run: write the mails, interrupt processes as planned, wait for the end, compare the books, audit the logs."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.cloud.firestore import Client

from chaos.books import Fields, Rules, Verdict, compare
from chaos.plan import Plan
from chaos.system import CONTESTED, LEASE_SECONDS, SETTINGS, ChaoticSystem
from cli.auditor import Auditor, Finding
from local.clients import firestore_client
from local.waiting import wait_until
from shared.delivery.bound import latest_end
from shared.delivery.model import FINAL
from shared.delivery.policy import BackOff, LeaseExpiryPolicy, Policy

#: The fraction of all mails that may be in progress before the application writes more.
_UNDER_WAY = 0.04
#: Seconds after which a mail that has not reached the mail server no longer counts as in progress.
_OVERDUE = 2.0 * LEASE_SECONDS
_PAUSE = 0.05

#: Seconds to wait for what should take much less. A mail that ends later than it may is a failure all the same.
PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """The options of a run: mails, seed, the services' policy for attempts, and the senders' subscription type."""

    mails: int
    seed: int
    policy: LeaseExpiryPolicy
    max_attempts: int
    sender: str = "push"

    def settings(self) -> Mapping[str, str]:
        """As environment variables."""
        return {"LEASE_EXPIRY_POLICY": self.policy, "MAX_ATTEMPTS": str(self.max_attempts)}

    def in_policy(self) -> Policy:
        """The same, together with the settings of every run, for the state machine."""
        return Policy(
            lease=timedelta(seconds=LEASE_SECONDS),
            max_attempts=self.max_attempts,
            lease_expiry=self.policy,
            back_off=BackOff(longest=timedelta(seconds=int(SETTINGS["RETRY_LONGEST_SECONDS"]))),
            stranded_after=timedelta(seconds=int(SETTINGS["STRANDED_AFTER"])),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run; all are counts of mails except the last."""

    written: int
    reached: int
    ended: int
    interruptions: int


@dataclass(frozen=True, slots=True)
class Audited:
    """The number of log entries and documents that were held against the state machine, and what it does not allow."""

    entries: int
    documents: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of a run. `seconds` are from the first mail's writing to the last one's end.

    `ends` are the seconds from the end of the faults to that of each mail, in order, and `latest` is the promise.
    """

    chosen: Chosen
    verdict: Verdict
    seconds: float
    ends: Sequence[float]
    latest: float
    states: Mapping[str, int]
    faults: Mapping[str, int]
    audited: Audited

    @property
    def good(self) -> bool:
        """Whether the books agree, the state machine allows what happened, and every mail has ended in time."""
        return self.verdict.good and not self.audited.findings and max(self.ends, default=0.0) <= self.latest


def run(chosen: Chosen, show: Callable[[Progress], None]) -> Outcome:
    """Run; `show` gets the progress now and then. Raises `local.errors.PartFailed` if the run can't even begin."""
    plan = Plan(chosen.seed, chosen.mails)
    with ChaoticSystem(plan, chosen.settings(), chosen.sender) as system:
        client = firestore_client(system.backend.firestore, system.options.project)
        try:
            return _Run(chosen, plan, system, client, show).play()
        finally:
            client.close()


class _Run:
    def __init__(
        self, chosen: Chosen, plan: Plan, system: ChaoticSystem, client: Client, show: Callable[[Progress], None]
    ) -> None:
        self._chosen = chosen
        self._plan = plan
        self._system = system
        self._collection = client.collection(system.options.setting("MAIL_COLLECTION"))
        self._show = show
        self._planned = deque(plan.interruptions())
        self._mails: dict[str, tuple[str, ...]] = {}
        self._under_way: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    def play(self) -> Outcome:
        begin = time.monotonic()
        for number in range(self._chosen.mails):
            if not wait_until(self._may_write, PATIENCE, _PAUSE):
                break  # the books will show what is stuck
            self._write(number)
            self._interrupt()
        self._system.calm()
        calm = time.monotonic()
        wait_until(self._is_over, PATIENCE, 0.5)
        return self._outcome(time.monotonic() - begin, [max(0.0, ended - calm) for ended in self._ended.values()])

    def _may_write(self) -> bool:
        now, log = time.monotonic(), self._system.log
        self._under_way = {
            recipient: since
            for recipient, since in self._under_way.items()
            if log.attempt(recipient) == 0 and now - since < _OVERDUE
        }
        self._report(ended=0)
        return len(self._under_way) <= self._chosen.mails * _UNDER_WAY

    def _interrupt(self) -> None:
        while self._planned and self._planned[0].after <= len(self._mails):
            self._system.arrange(self._planned.popleft())

    def _report(self, ended: int) -> None:
        system = self._system
        self._show(Progress(len(self._mails), system.log.mails_seen(), ended, len(system.interrupted)))

    def _write(self, number: int) -> None:
        """Write as an application does: retry what Firestore did not confirm. The id prevents a duplicate."""
        name = f"{CONTESTED if number % 2 else 'solo'}-{number}"
        recipients = self._plan.recipients(number)
        message, lane = {"subject": name, "text": "Chaos."}, self._plan.lane(number)
        fields = {"to": list(recipients), "message": message, "lane": lane}
        self._mails[name] = recipients
        self._under_way[recipients[0]] = time.monotonic()

        def create() -> bool:
            try:
                self._collection.document(name).create(fields)
            except AlreadyExists:
                pass
            except GoogleAPICallError:
                return False
            return True

        wait_until(create, PATIENCE, _PAUSE)

    def _is_over(self) -> bool:
        deliveries = self._deliveries(["delivery.state"])
        ended, now = [name for name, delivery in deliveries.items() if delivery.get("state") in FINAL], time.monotonic()
        self._ended = {name: self._ended.get(name, now) for name in ended}
        self._report(len(ended))
        return len(ended) == len(self._mails) and self._system.backend.wait_until_delivered(0)

    def _deliveries(self, fields: Sequence[str]) -> Mapping[str, Fields]:
        """The documents' `delivery` fields by id; empty if not processed yet."""
        found = self._collection.select(list(fields)).stream()
        return {each.id: (each.to_dict() or {}).get("delivery") or {} for each in found}

    def _outcome(self, seconds: float, ends: Sequence[float]) -> Outcome:
        deliveries = self._deliveries(["delivery"])
        chosen, system = self._chosen, self._system
        verdict = compare(
            self._mails,
            deliveries,
            system.log.acceptances(),
            system.interrupted,
            undelivered=not system.backend.wait_until_delivered(1),
            rules=Rules(chosen.policy, chosen.max_attempts, LEASE_SECONDS),
        )
        return Outcome(
            chosen=chosen,
            verdict=verdict,
            seconds=seconds,
            ends=sorted(ends),
            latest=latest_end(chosen.in_policy(), self._system.surroundings(chosen.mails)).total_seconds(),
            states=Counter(_label(delivery) for delivery in deliveries.values()),
            faults=self._faults(),
            audited=self._audited(deliveries),
        )

    def _audited(self, deliveries: Mapping[str, Fields]) -> Audited:
        """The services' logs and the documents, held against the state machine."""
        auditor = Auditor(self._chosen.in_policy())
        in_documents = (auditor.document(name, delivery, "documents") for name, delivery in deliveries.items())
        found = [each for each in in_documents if each is not None]
        for log in sorted(self._system.logs.iterdir()):
            with log.open(encoding="utf-8", errors="replace") as file:
                found += auditor.file(file, log.name)
        found += auditor.stories()
        return Audited(auditor.entries, auditor.documents, tuple(found))

    def _faults(self) -> Mapping[str, int]:
        interrupted = Counter(f"{each.process}: {each.what}" for each in self._system.interrupted)
        return interrupted + self._system.log.faults + self._system.backend.faults.counts


def _label(delivery: Mapping[str, object]) -> str:
    code = delivery.get("errorCode")
    return f"{delivery.get('state')}" + (f" ({code})" if code else "")
