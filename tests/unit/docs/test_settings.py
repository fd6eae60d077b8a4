"""The tables of docs/settings.md are those of the settings."""

from __future__ import annotations

from enum import Enum

import pytest
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from dispatcher.settings import DispatcherSettings
from sender.settings import GuardSettings, OAuthSettings, PullSettings
from shared.delivery.lanes import NO_LANES
from tests.unit.docs.documents import quoted, rows

DOCUMENT = "docs/settings.md"
MODELS: tuple[type[BaseSettings], ...] = (DispatcherSettings, PullSettings, OAuthSettings, GuardSettings)
#: Hold OAuthSettings and GuardSettings, which are variables of their own.
NOT_A_VARIABLE = {"oauth", "guard"}

#: Defaults that follow from another setting, are required in some cases only, or are too long to be written out.
IN_OTHER_WORDS = {
    "ATTEMPT_SECONDS": "5/6 of the lease",
    "DEFAULT_REPLY_TO": "none",
    "LISTEN_ADDRESS": "`0.0.0.0`; `127.0.0.1` with emulators",
    "MAIL_SUBSCRIPTION": "`MAIL_TOPIC` + `-sender`",
    "MEMORY_BUDGET_MB": "from the container's limit",
    "OAUTH_PORT": "465 (587)",
    "OAUTH_TOKEN_URL": "Google's",
    "OIDC_AUDIENCE": "(required outside an emulator)",
    "OIDC_CERTIFICATES_URL": "Google's",
    "OIDC_SERVICE_ACCOUNTS": "(required outside an emulator)",
    "PULL_MAX_MESSAGES": "`THREADS`",
    "REFRESH_TOKEN": "(required with the grant of that name)",
    "THREADS": "`32` (a sender's: `64`)",
    "SENDGRID_API_KEY": "`SMTP_PASSWORD`",
    "SMTP_CONNECTION_URI": "(required for SMTP with a password)",
}


def fields() -> dict[str, FieldInfo]:
    return {
        name.upper(): field
        for model in MODELS
        for name, field in model.model_fields.items()
        if name not in NOT_A_VARIABLE
    }


def documented() -> dict[str, str]:
    """Each variable of a table and what its column `default` says; several in one row share it out at the commas."""
    found: dict[str, str] = {}
    for row in rows(DOCUMENT):
        names = quoted(row[0])
        defaults = [part.strip() for part in row[1].split(", ")] if len(row) > 2 else [""]
        if len(defaults) != len(names):
            defaults = [row[1] if len(row) > 2 else ""] * len(names)
        found |= dict(zip(names, defaults, strict=True))
    return found


FIELDS, DOCUMENTED = fields(), documented()


def as_written(field: FieldInfo) -> str:
    if field.is_required():
        return "(required)"
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if default is None or default in ("", {}, NO_LANES):
        return ""
    return f"`{default.value if isinstance(default, Enum) else default}`"


def test_each_setting_has_a_row() -> None:
    assert set(FIELDS) <= set(DOCUMENTED)


def test_each_row_is_of_a_setting() -> None:
    of_any_name = {"_…", "_FROM_DOMAINS"}
    assert set(DOCUMENTED) - set(FIELDS) == of_any_name


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_default_is_the_settings(name: str) -> None:
    assert DOCUMENTED[name] == IN_OTHER_WORDS.get(name, as_written(FIELDS[name]))


def test_an_attempt_may_take_five_sixths_of_its_lease() -> None:
    settings = PullSettings.model_construct(lease_seconds=60, attempt_seconds=None)
    assert settings.attempt == 60 * 5 / 6
