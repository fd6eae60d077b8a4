"""All classes of hostile input. A new one belongs into one of these modules, or into a new one that is added here."""

from __future__ import annotations

from typing import Final

from tests.fuzz import doors, mails, servers, templates, texts
from tests.fuzz.kind import Kind

KINDS: Final[tuple[Kind, ...]] = (*mails.KINDS, *texts.KINDS, *templates.KINDS, *doors.KINDS, *servers.KINDS)
