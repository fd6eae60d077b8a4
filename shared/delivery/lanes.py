"""Lanes keep mails apart: those of one lane never wait for those of another.

Each lane has a subscription to the mail topic, whose filter selects messages by their attribute `lane`, and senders of
its own. A mail that is in no lane has no attribute, and belongs to the default lane. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: The attribute of messages, and the field of documents.
LANE: Final = "lane"

#: What a document calls the lane that all others leave over.
DEFAULT_LANE: Final = "default"

#: The filter of the default lane names all others, and Pub/Sub allows it 256 bytes:
#: https://cloud.google.com/pubsub/docs/subscription-message-filter
MOST_LANES: Final = 5
#: Cloud Run's services are called after lanes, and their names don't end with a hyphen.
_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
_RULE: Final = re.compile(r"(template|transport):[^\s,]{1,200}")

#: The fields of a document that its lane depends on: those of `Traits`.
TRAITS: Final = (LANE, "transport", "template.name")


@dataclass(frozen=True, slots=True)
class Traits:
    """What a document's lane depends on: its `lane`, its `transport` and the name of its template.

    None is not given. Anything that is not text reads as "", the name of nothing.
    """

    lane: str | None = None
    transport: str | None = None
    template: str | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Traits:
        """Those of a decoded document."""
        template = fields.get("template")
        name = template.get("name") if isinstance(template, Mapping) else None
        return cls(_text(fields.get(LANE)), _text(fields.get("transport")), _text(name))


@dataclass(frozen=True, slots=True)
class Lanes:
    """The lanes of an installation beside the default one, in their order: the rules of each, by its name.

    A rule is `template:NAME` or `transport:NAME`.
    """

    rules: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Lanes:
        """From LANES, such as `bulk=template:newsletter transport:marketing, digest`. Raises `ValueError`."""
        rules: dict[str, frozenset[str]] = {}
        for number, part in enumerate(text.split(","), 1):
            name, _, given = part.strip().partition("=")
            found = frozenset(given.split())
            if not _NAME.fullmatch(name) or name == DEFAULT_LANE or not all(map(_RULE.fullmatch, found)):
                raise ValueError(f"expected {_EXPECTED}; found something else as lane {number}")
            if name in rules:
                raise ValueError(f"expected each lane once; lane {number} has the name of an earlier one")
            rules[name] = found
        if len(rules) > MOST_LANES:
            raise ValueError(f"expected at most {MOST_LANES} lanes, found {len(rules)}")
        return cls(rules)

    def of(self, traits: Traits) -> str:
        """The name of the lane of a document:

        traits                                     lane
        a `lane` of this installation              that one, whatever the rules say
        any other `lane`                           the default one
        no `lane`, and a rule names the template   the first lane with such a rule
        or the transport
        nothing of these                           the default one
        """
        if traits.lane is not None:
            return self._known(traits.lane)
        given = (("template", traits.template), ("transport", traits.transport))
        matching = {f"{kind}:{name}" for kind, name in given if name is not None}
        return next((name for name, rules in self.rules.items() if rules & matching), DEFAULT_LANE)

    def of_message(self, attributes: Mapping[str, str]) -> str:
        """The name of the lane of a message with these attributes."""
        return self._known(attributes.get(LANE, DEFAULT_LANE))

    def filter_of(self, lane: str) -> str:
        """The filter of a lane's subscription. The default lane gets all messages that no other one gets."""
        if lane != DEFAULT_LANE:
            return f'attributes.{LANE}="{lane}"'
        return " AND ".join(f'NOT attributes.{LANE}="{other}"' for other in self.rules)

    def has(self, lane: str) -> bool:
        """Whether a document may name this lane."""
        return lane == DEFAULT_LANE or lane in self.rules

    def _known(self, lane: str) -> str:
        return lane if lane in self.rules else DEFAULT_LANE


NO_LANES: Final = Lanes()

_EXPECTED: Final = (
    "names of up to 20 small letters, digits and hyphens, separated by commas, each alone or followed by '=' and rules "
    f"such as 'template:newsletter transport:marketing', and none '{DEFAULT_LANE}'"
)


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else ""
