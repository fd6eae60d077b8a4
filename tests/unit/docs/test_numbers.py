"""Numbers that prose repeats are those of the code.

A sentence is made of the constants and must stand in its document, whatever the line breaks. Who changes a constant
finds here which documents speak of it; who writes another number into a document adds its sentence.
"""

from __future__ import annotations

import re
from datetime import timedelta
from math import ceil
from tomllib import loads

import pytest
from annotated_types import Le

from chaos.__main__ import main as chaos
from cli.adopt import SHOWN
from cli.check_documents import LIMIT
from cli.find import READS
from dispatcher.reconciler import PAGE, position_path
from local.documents import KNOWN_DOCUMENTS
from local.eventarc import LARGEST_EVENT
from local.mailstore import KEPT_BYTES, KEPT_MAILS
from local.options import CONSOLE_PORT, SMTP_PORT
from local.web.parameters import LONGEST_WAIT
from sender.bootstrap import MIB, OWN_BYTES
from sender.document.addresses import MAX_ENTRY, MAX_TEXT
from sender.document.custom_headers import MAX_WORD
from sender.document.document import MAX_RECIPIENTS, MAX_SUBJECT, MAX_UIDS
from sender.entrypoints.ack_deadlines import _COLLECT_SECONDS
from sender.entrypoints.pull import PAUSE_SECONDS
from sender.handlebars.lexer import MAX_TOKENS
from sender.handlebars.parser import MAX_NESTING
from sender.handlebars.runtime import _MAX_INLINES, Limits
from sender.memory.need import CHARACTER_BYTES, FILE_FACTOR, TEXT_FACTOR
from sender.message.attachments import EASY_BYTES, MAX_COUNT, MAX_TOTAL_BYTES
from sender.message.html_worker import MEMORY_BYTES as PAGE_BYTES
from sender.message.template_repository import FRESH_SECONDS, MAX_PARTIALS
from sender.message.templates import EASY_CHARACTERS, MAX_CHARACTERS, RENDER_SECONDS
from sender.settings import MIN_MEMORY_MB, SenderSettings
from sender.transport.oauth import _EARLY_SECONDS
from sender.transport.smtp.commands import GROUP_BYTES
from sender.transport.smtp.connection_limit import FIRST as FIRST_CONNECTIONS
from sender.transport.smtp.connection_limit import HOLD_SECONDS
from sender.transport.smtp.pool import KeepOpen
from sender.worker.result import MAX_LIST_BYTES, MAX_WARNINGS
from sender.worker.retention import MAX_RENDERED_BYTES
from shared.control import FRESH_SECONDS as PAUSE_KNOWN_FOR
from shared.delivery.bound import Surroundings, latest_end
from shared.delivery.history import _LENGTHS, MOST_ENTRIES
from shared.delivery.lanes import MOST_LANES
from shared.delivery.model import MAX_TEXT as MAX_ERROR
from shared.delivery.model import MOST_ATTEMPTS
from shared.delivery.pause import control_path
from shared.delivery.policy import LONGEST_LEASE_SECONDS, LONGEST_OUTAGE_PAUSE, UNSENT_RETRIES
from shared.firestore.values import MAX_VALUES
from shared.http.server import GRACE_SECONDS
from shared.starting import EXIT_MISCONFIGURED
from tests.unit.docs.documents import ROOT, prose
from tests.unit.infra.module import alerts, source

IN_WORDS = {2: "two", 5: "five", 9: "nine", 10: "ten", 60: "a minute"}

KEPT_OPEN = KeepOpen()
LIMITS = Limits()
LEASE = SenderSettings.model_fields["lease_seconds"].default
PROJECT = loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: The first minor version of Python that is supported, and the first that is not.
FIRST, BEYOND = map(int, re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
CHAOS = {option.name: option.default for option in chaos.params}
STRANDED_AFTER = SenderSettings.model_fields["stranded_after"].default
KILOBYTE = 1024
#: How often Eventarc's subscription tries to deliver an event, once keep_events_command has been run.
[EVENT_DELIVERIES] = map(int, re.findall(r"--max-delivery-attempts=(\d+)", source("eventarc.tf")))
#: After Eventarc's pauses of 10, 20, 40 … 600 seconds (https://cloud.google.com/eventarc/docs/retry-events).
EVENT_HOURS = round(sum(min(600, 10 * 2**number) for number in range(EVENT_DELIVERIES - 1)) / 3600)


def in_minutes(queued: int) -> int:
    """The time within which every document ends by default, with so many of them queued."""
    minute = timedelta(minutes=1)
    policy = SenderSettings.model_construct().policy()
    around = Surroundings(10 * minute, 2 * minute, minute, PAGE, queued, processing=500)
    return latest_end(policy, around) // minute


def most(setting: str) -> object:
    """The largest value that a setting may have."""
    [limit] = [each.le for each in SenderSettings.model_fields[setting].metadata if isinstance(each, Le)]
    return limit


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("README.md", f"They require Python 3.{FIRST} to 3.{BEYOND - 1}"),
        ("docs/lanes.md", f"There can be {IN_WORDS[MOST_LANES]} lanes"),
        ("docs/lanes.md", f"after `STRANDED_AFTER` ({STRANDED_AFTER // 60} minutes)"),
        ("docs/command-line.md", f"reads at most `--limit` documents ({LIMIT:,})"),
        ("docs/command-line.md", f"(on a terminal the first {IN_WORDS[SHOWN]})"),
        ("docs/command-line.md", f"`find` reads at most `--reads` documents ({READS:,}, which cost less than a cent)"),
        (
            "docs/transports.md",
            f"for at most {KEPT_OPEN.max_age / 60:g} minutes, {KEPT_OPEN.max_idle:g} seconds without a mail, "
            f"and {KEPT_OPEN.max_mails} mails each",
        ),
        ("docs/transports.md", f"Envelopes beyond {GROUP_BYTES // 1024} kB are split into several groups"),
        ("docs/transports.md", f"keeps it until {IN_WORDS[int(_EARLY_SECONDS)]} before it expires"),
        ("docs/push-or-pull.md", f"Acknowledgements are collected for {_COLLECT_SECONDS * 1000:g} ms"),
        ("docs/push-or-pull.md", f"is released after {PAUSE_SECONDS} seconds, and then comes again"),
        ("docs/push-or-pull.md", f"ends within {GRACE_SECONDS} seconds with exit code 0"),
        (
            "docs/containers.md",
            f"It ends after {IN_WORDS[GRACE_SECONDS]} seconds at the latest",
        ),
        (
            "docs/templates.md",
            f"may take {RENDER_SECONDS:g} seconds to render, "
            f"{MAX_CHARACTERS // 10**6} million characters in all its parts, "
            f"{MAX_NESTING} levels of blocks in one template and {LIMITS.depth} levels of blocks and partials in all",
        ),
        ("docs/templates.md", f"Up to {MAX_PARTIALS:,} partials are read"),
        ("docs/templates.md", f"take effect within {FRESH_SECONDS:g} seconds"),
        ("docs/settings.md", f"ends the start with exit code {EXIT_MISCONFIGURED}"),
        (
            "docs/settings.md",
            f"to Firestore or Pub/Sub (at most {most('batch_size')}; 1: each has its own)",
        ),
        (
            "docs/settings.md",
            f"a sent mail's texts in `delivery.rendered`, up to {MAX_RENDERED_BYTES // 1024} KiB",
        ),
        (
            "docs/reliability.md",
            f"a sixth of `LEASE_SECONDS`: {IN_WORDS[LEASE // 6]} seconds by default",
        ),
        ("docs/reliability.md", f"A run examines one page of {PAGE} queued documents and one of {PAGE} in PROCESSING"),
        ("docs/reliability.md", f"`STRANDED_AFTER`, and 1 + ⌈n / {PAGE}⌉ runs: 2 minutes for up to {PAGE}, "),
        ("docs/reliability.md", f"{1 + ceil(5_000 / PAGE)} for 5,000"),
        ("docs/reliability.md", f"`{position_path('mail')}` holds the positions for the collection `mail`"),
        ("docs/operating.md", f"is read at most every {IN_WORDS[int(PAUSE_KNOWN_FOR)]} seconds"),
        ("docs/capacity.md", f"{2_592_000 // int(PAUSE_KNOWN_FOR):,} reads or 0.31 a month"),
        ("docs/operating.md", f"`{control_path('mail')}` for the collection `mail`"),
        ("docs/security.md", f"Nothing for `{control_path('mail').partition('/')[0]}`"),
        ("docs/reliability.md", f"`make chaos` sends {CHAOS['mails']:,} mails"),
        (
            "docs/migrating-from-trigger-email.md",
            f"at most {MAX_COUNT}, and {MAX_TOTAL_BYTES // 1024**2} MB in all",
        ),
        ("docs/migrating-from-trigger-email.md", f"words beyond {MAX_WORD} characters"),
        (
            "docs/templates.md",
            f"have {MAX_TOKENS:,} texts, names and marks, and each of its blocks {_MAX_INLINES} inline",
        ),
        ("docs/templates.md", f"with arguments may copy {LIMITS.copies:,} entries"),
        ("docs/capacity.md", f"{FILE_FACTOR} times as much as may come: {FILE_FACTOR * MAX_TOTAL_BYTES // 1024**2} MB"),
        ("docs/capacity.md", f"as it is in memory, and texts that a template renders | {TEXT_FACTOR} times their size"),
        ("docs/capacity.md", f"up to {EASY_BYTES // 1024**2} MB in all | {FILE_FACTOR * EASY_BYTES // 1024**2} MB"),
        ("docs/capacity.md", f"{EASY_CHARACTERS:,} characters | {CHARACTER_BYTES * MAX_CHARACTERS // 10**6} MB"),
        ("docs/capacity.md", f"after {OWN_BYTES // MIB} MiB for the process itself"),
        ("docs/capacity.md", f"also {PAGE_BYTES // MIB} MiB for the process that changes pages"),
        ("docs/capacity.md", f"It is {MIN_MEMORY_MB} MiB at least"),
        ("docs/capacity.md", f"the more it reads, up to {PAGE} a minute"),
        ("docs/capacity.md", f"| 5,000 | {PAGE * 1440:,} |"),
        ("docs/migrating-from-trigger-email.md", f"with the first runs of the reconciler ({PAGE} each)"),
        (
            "docs/documents.md",
            f"may have at most {MAX_RECIPIENTS:,} recipients ({MAX_UIDS} of them by user id) and a subject of "
            f"{MAX_SUBJECT:,} characters; an address with its name may have {MAX_ENTRY:,} characters, and a text with "
            f"several addresses {MAX_TEXT:,}",
        ),
        ("docs/documents.md", f"Of a document, at most {MAX_VALUES:,} values are read"),
        (
            "docs/documents.md",
            f"have at most {MAX_ERROR:,} characters; of more than {MAX_WARNINGS} `warnings`",
        ),
        ("docs/documents.md", f"A list in `info` has at most {MAX_LIST_BYTES:,} bytes"),
        ("docs/documents.md", f"the last {MOST_ENTRIES} attempts that have ended"),
        ("docs/documents.md", f"the error if there was none, in at most {_LENGTHS['response']} characters"),
        ("docs/documents.md", f"`attempts` counts from 0 to {MOST_ATTEMPTS:,}"),
        ("docs/documents.md", f"the longest lease ({LONGEST_LEASE_SECONDS} seconds)"),
        ("docs/documents.md", f"up to `STRANDED_AFTER` ({STRANDED_AFTER // 60} minutes) until the reconciler finds it"),
        ("docs/documents.md", f"beyond {LARGEST_EVENT // KILOBYTE} KB may get no event"),
        (
            "docs/documents.md",
            f"One beyond {LARGEST_EVENT // 2 // KILOBYTE} KB is sent, but changes to",
        ),
        ("docs/local.md", f"[events of up to {LARGEST_EVENT // KILOBYTE} KB]"),
        ("docs/reliability.md", f"no event exceeds its {LARGEST_EVENT // KILOBYTE} KB"),
        ("docs/reliability.md", f"after `MAX_ATTEMPTS` and {IN_WORDS[UNSENT_RETRIES]} more, the mail ends as ERROR"),
        (
            "docs/transports.md",
            f"as long as it has waited already, at most {LONGEST_OUTAGE_PAUSE.total_seconds() // 60:.0f} minutes",
        ),
        ("docs/transports.md", f"begins with {IN_WORDS[FIRST_CONNECTIONS]}, and adds one"),
        ("docs/transports.md", f"What was found is kept for {IN_WORDS[round(HOLD_SECONDS / 60)]} minutes"),
        ("docs/capacity.md", f"| alerts: {len(alerts())} conditions |"),
        ("docs/deploying.md", f"has failed {EVENT_DELIVERIES} times (in {EVENT_HOURS} hours"),
        ("docs/operating.md", f"after {EVENT_DELIVERIES} deliveries, which takes {EVENT_HOURS} hours"),
        ("docs/reliability.md", f"[keeps trying](deploying.md#undelivered-events), {EVENT_HOURS} hours"),
        ("docs/lifecycle-events.md", f"the document's event for [{EVENT_HOURS} hours]"),
        ("docs/local.md", f"takes mail: {CONSOLE_PORT} and {SMTP_PORT}, or the next free port"),
        ("docs/local.md", f"the {KNOWN_DOCUMENTS:,} that changed last"),
        ("docs/local.md", f"The inbox keeps {KEPT_MAILS} mails, and {KEPT_BYTES // 1024**3} GB of them"),
        ("docs/local.md", f"after that many seconds ({LONGEST_WAIT:g} at most)"),
        ("docs/reliability.md", f"has ended within {in_minutes(500)} minutes** of the last failure"),
        ("docs/reliability.md", f"{in_minutes(100_000) // 60} h {in_minutes(100_000) % 60} min with 100,000"),
    ],
)
def test_a_document_says_the_number_that_holds(document: str, sentence: str) -> None:
    assert sentence in prose(document), f"{document} does not say: {sentence}"
