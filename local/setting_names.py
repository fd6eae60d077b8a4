"""The names of all settings of the services, so that a misspelt one does not go unnoticed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic_settings import BaseSettings

from dispatcher.settings import DispatcherSettings
from local.spelling import meant
from sender.settings import GuardSettings, NamedTransport, OAuthSettings, PullSettings

_COMMON: tuple[type[BaseSettings], ...] = (DispatcherSettings, PullSettings, OAuthSettings, GuardSettings)
#: These, with the transport's name before them, are settings of each transport that TRANSPORTS names.
_OF_TRANSPORTS: tuple[type[BaseSettings], ...] = (NamedTransport, OAuthSettings)
#: Variables of Python and of libraries, which are no settings of ours.
_OTHERS = re.compile(r"(OTEL|GRPC|PYTHON|GOOGLE|SSL|NO)_\w+|PYTHON\w+|https?_proxy|HTTPS?_PROXY")


def check_names(settings: Mapping[str, str]) -> None:
    """Raises `ValueError`, with a sentence, at the first name that no service knows."""
    known = _names(_COMMON)
    for transport in settings.get("TRANSPORTS", "").split(","):
        prefix = transport.strip().upper().replace("-", "_")
        known |= {f"{prefix}_{name}" for name in _names(_OF_TRANSPORTS)} if prefix else set()
    for name in settings:
        if name not in known and not _OTHERS.fullmatch(name):
            raise ValueError(f"{name} is no setting; {meant(name, known) or 'docs/settings.md has them all'}.")


def _names(models: tuple[type[BaseSettings], ...]) -> set[str]:
    return {field.upper() for model in models for field in model.model_fields}
