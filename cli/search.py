"""Searching for mails by what people know of them. Pure: the queries, and what they find that is not meant.

An index finds only what is written exactly so. So the queries ask for all usual spellings, and `Search.includes`, which
looks at the document itself, decides. A scan, which reads all documents, finds with it what no index can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cli.mail import NOT_ACCEPTED, Mail
from cli.selection import ALWAYS, Condition, Query, Window
from sender.document.addresses import BadAddress, mailboxes, parse_addresses

#: The fields that `Search.includes` needs.
FIELDS: Final = ("delivery", "to", "cc", "bcc", "message.subject", "message.messageId")

#: Lists in `delivery.info` of those to whom the mail was addressed; all but the last have an index.
_OUTCOMES: Final = ("accepted", *NOT_ACCEPTED)
_ADDRESSED: Final = (*_OUTCOMES, "withheld")
_RECIPIENT_FIELDS: Final = ("to", "cc", "bcc")
_MESSAGE_IDS: Final = ("delivery.info.messageId", "message.messageId")
_SUBJECTS: Final = ("message.subject", "delivery.rendered.subject")
_PROVIDER_ID: Final = "delivery.info.sendgridQueueId"
#: Fields with the provider's words, in which it names its id of the mail.
_ANSWERS: Final = ("delivery.info.response", "delivery.error")
#: A beginning followed by this sorts after all texts with that beginning: it is the last code point, and no character.
_LAST: Final = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Search:
    """What is known of the mails; at least one of the texts is given, and all that are must fit.

    `recipient` is one that `bare_address` accepts, `message_id` has angle brackets or not, `subject` is its beginning.
    """

    recipient: str | None = None
    message_id: str | None = None
    subject: str | None = None
    provider_id: str | None = None
    window: Window = ALWAYS

    def queries(self) -> tuple[Query, ...]:
        """The queries that together find the mails by an index. Of several texts, the most telling one is asked for."""
        if self.message_id is not None:
            return (_any_of([(field, "in", _message_ids(self.message_id)) for field in _MESSAGE_IDS]),)
        if self.recipient is not None:
            return (_any_of(_to(_spellings(self.recipient))),)
        if self.subject is not None:
            return tuple(_beginning(field, self.subject) for field in _SUBJECTS)
        return (Query(((_PROVIDER_ID, "==", self.provider_id),)),)

    @property
    def needs_scan(self) -> bool:
        """Whether an index may not find it: only a provider's id is given, which may be part of a longer text."""
        return all(text is None for text in (self.message_id, self.recipient, self.subject))

    def includes(self, mail: Mail) -> bool:
        """Whether a document, read with `FIELDS`, is one that is searched for; upper and lower case are the same."""
        return (
            self.window.includes(mail)
            and (self.recipient is None or _is_among(bare_address(self.recipient), _recipients(mail)))
            and (self.message_id is None or _is_among(_bare(self.message_id), map(_bare, _texts(mail, _MESSAGE_IDS))))
            and (self.subject is None or _begins(self.subject, _texts(mail, _SUBJECTS)))
            and (self.provider_id is None or _holds(self.provider_id, _texts(mail, (_PROVIDER_ID, *_ANSWERS))))
        )


def bare_address(text: str) -> str:
    """The address in `Ada <ada@example.com>` or `ada@example.com`. Raises `ValueError` unless there is exactly one."""
    found = [address.email for address in mailboxes(parse_addresses(text))]
    if len(found) != 1:
        raise ValueError(f"{len(found)} addresses; one is needed, such as ada@example.com")
    return found[0]


def _any_of(conditions: Iterable[Condition]) -> Query:
    return Query(tuple(conditions), any_of=True)


def _to(addresses: list[str]) -> Iterator[Condition]:
    """As Firepost writes them after an attempt, and as applications write them before."""
    for outcome in _OUTCOMES:
        yield f"delivery.info.{outcome}", "array_contains_any", addresses
    for field in _RECIPIENT_FIELDS:
        yield field, "array_contains_any", addresses
        yield field, "in", addresses


def _spellings(address: str) -> list[str]:
    bare = bare_address(address)
    return list(dict.fromkeys((address, bare, bare.lower())))


def _message_ids(text: str) -> list[str]:
    bare = _bare(text)
    return [f"<{bare}>", bare]


def _beginning(field: str, text: str) -> Query:
    return Query(((field, ">=", text), (field, "<", text + _LAST)))


def _recipients(mail: Mail) -> Iterator[str]:
    """All recipients: those with an outcome, those withheld, and the addresses in the document's own fields."""
    for outcome in _ADDRESSED:
        yield from (text for text in mail.recipients(outcome) if isinstance(text, str))
    for field in _RECIPIENT_FIELDS:
        value = mail.fields.get(field)
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str):
                yield from _addresses(text)


def _addresses(text: str) -> Iterator[str]:
    try:
        yield from (address.email for address in mailboxes(parse_addresses(text)))
    except BadAddress:
        yield text.strip()


def _texts(mail: Mail, paths: tuple[str, ...]) -> Iterator[str]:
    """The texts at these paths of fields."""
    for path in paths:
        value: Any = mail.fields
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if isinstance(value, str):
            yield value


def _bare(message_id: str) -> str:
    return message_id.strip().removeprefix("<").removesuffix(">")


def _is_among(text: str, texts: Iterable[str]) -> bool:
    return text.casefold() in map(str.casefold, texts)


def _begins(beginning: str, texts: Iterable[str]) -> bool:
    return any(text.casefold().startswith(beginning.casefold()) for text in texts)


def _holds(part: str, texts: Iterable[str]) -> bool:
    return any(part.casefold() in text.casefold() for text in texts)
