"""Our Handlebars against the real one. Not part of `make test`: needs Node and npm (`make handlebars-reference`)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.handlebars_reference.generator import Generator
from tests.handlebars_reference.node import NotAvailable, Reference
from tests.unit.sender.handlebars.case import Case, all_cases, rendered

BATCHES = 20
BATCH = 500

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    try:
        return Reference(tmp_path_factory.mktemp("handlebars.js"))
    except NotAvailable as error:
        pytest.skip(str(error))


def test_the_conformance_cases_expect_what_handlebars_js_does(reference: Reference) -> None:
    cases = [case for _, case in all_cases()]
    wrong = [(case, text) for case, text in zip(cases, reference.render(cases), strict=True) if text != case.expected]
    assert wrong == []


@pytest.mark.parametrize("seed", range(BATCHES))
def test_random_templates_come_out_alike(reference: Reference, seed: int) -> None:
    generator = Generator(seed)
    cases = [generator.case(number) for number in range(BATCH)]
    assert disagreements(cases, reference.render(cases)) == []


def disagreements(cases: Sequence[Case], texts: Sequence[str | None]) -> list[tuple[Case, str | None, str | None]]:
    """Each case that comes out differently, with handlebars.js' text and ours."""
    return [
        (case, theirs, ours) for case, theirs in zip(cases, texts, strict=True) if (ours := rendered(case)) != theirs
    ]
