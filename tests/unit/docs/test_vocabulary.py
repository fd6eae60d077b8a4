"""The tables of error codes and of log entries are complete, and the runbook names charts that exist."""

from __future__ import annotations

import re

import pytest

from shared.errors import ErrorCode
from shared.observability.events import FIELDS, Event
from tests.unit.docs.documents import ROOT, prose, quoted, rows


def test_each_error_code_is_explained_once() -> None:
    explained = [code for row in rows("docs/documents.md") for code in quoted(row[0]) if code in set(ErrorCode)]
    assert sorted(explained) == sorted(ErrorCode)


@pytest.mark.parametrize("event", Event)
def test_each_log_entry_is_explained_with_its_fields(event: Event) -> None:
    [row] = [row for row in rows("docs/logs.md") if row[0] == f"`{event}`"]
    assert set(FIELDS[event]) <= set(quoted(row[3]))


def test_the_runbook_names_charts_of_the_dashboard() -> None:
    dashboard = (ROOT / "infra/terraform/modules/monitoring/dashboard.tf").read_text(encoding="utf-8")
    titles = tuple(re.findall(r'^ +title = "(.+)"$', dashboard, re.MULTILINE))
    named = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", prose("docs/operating.md"))
    assert titles
    assert named
    assert [name for name in named if not any(title.startswith(name) for title in titles)] == []
