from __future__ import annotations

import pytest

from local.setting_names import check_names
from local.spelling import meant


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"MAX_ATTEMPTS": "3", "EVENTS_TOPIC": "events", "PULL_MAX_BYTES": "1"}, id="of either service"),
        pytest.param({"RECIPIENTS_ALLOWED": "*", "CLIENT_ID": "x"}, id="of nested models"),
        pytest.param({"TRANSPORTS": "eu-bulk", "EU_BULK_SMTP_PASSWORD": "x"}, id="of a named transport"),
        pytest.param({"OTEL_TRACES_SAMPLER": "always_on", "PYTHONDEVMODE": "1"}, id="of a library"),
    ],
)
def test_known_names_are_accepted(settings: dict[str, str]) -> None:
    check_names(settings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        pytest.param(
            {"MAX_ATTEMPS": "3"}, "MAX_ATTEMPS is no setting; did you mean MAX_ATTEMPTS.", id="a letter is missing"
        ),
        pytest.param({"SMTPPASSWORD": "x"}, "did you mean SMTP_PASSWORD", id="a character is missing"),
        pytest.param({"FLYING_PIGS": "2"}, "FLYING_PIGS is no setting; docs/settings.md has them all.", id="nothing"),
        pytest.param(
            {"EU_SMTP_PASSWORD": "x"}, "EU_SMTP_PASSWORD is no setting", id="of a transport that is not named"
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_one_that_was_meant(settings: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_names(settings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Comit", "did you mean Commit"), ("commit", "did you mean Commit"), ("Nothing", ""), ("", "")],
)
def test_a_misspelt_name_is_guessed(name: str, expected: str) -> None:
    assert meant(name, ("Commit", "Publish")) == expected
