"""Conformance with handlebars.js: all cases in `cases`, whose results come from the original."""

from __future__ import annotations

import pytest

from tests.unit.sender.handlebars.case import Case, all_cases, rendered


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in all_cases()])
def test_renders_as_handlebars_js_does(case: Case) -> None:
    assert rendered(case) == case.expected
