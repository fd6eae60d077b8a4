"""All classes of hostile input. A new one belongs into one of these modules, or into a new one that is added here."""

from __future__ import annotations

from typing import Final

from tests.fuzz import doors, mail_servers, mails, templates, texts, web_servers
from tests.fuzz.kind import Kind

_MODULES: Final = (mails, texts, templates, doors, web_servers, mail_servers)
KINDS: Final[tuple[Kind, ...]] = tuple(kind for module in _MODULES for kind in module.KINDS)


def file_of(kind: Kind) -> str:
    """The file of the class, relative to the repository."""
    [name] = [module.__name__ for module in _MODULES if kind in module.KINDS]
    return f"{name.replace('.', '/')}.py"
