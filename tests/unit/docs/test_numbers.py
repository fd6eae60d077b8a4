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
from sender.bootstrap import MIB, OWN_BYTES
from sender.document.custom_headers import MAX_WORD
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
from sender.transport.smtp.pool import KeepOpen
from sender.worker.retention import MAX_RENDERED_BYTES
from shared.delivery.bound import Surroundings, latest_end
from shared.http.server import EXIT_MISCONFIGURED, GRACE_SECONDS
from tests.unit.docs.documents import ROOT, prose

IN_WORDS = {9: "nine", 10: "ten", 60: "a minute"}

KEPT_OPEN = KeepOpen()
LIMITS = Limits()
LEASE = SenderSettings.model_fields["lease_seconds"].default
PROJECT = loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: The first minor version of Python that is supported, and the first that is not.
FIRST, BEYOND = map(int, re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
CHAOS = {option.name: option.default for option in chaos.params}


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
        ("docs/reliability.md", f"has ended within {in_minutes(500)} minutes** of the last failure"),
        ("docs/reliability.md", f"{in_minutes(100_000) // 60} h {in_minutes(100_000) % 60} min with 100,000"),
    ],
)
def test_a_document_says_the_number_that_holds(document: str, sentence: str) -> None:
    assert sentence in prose(document), f"{document} does not say: {sentence}"
