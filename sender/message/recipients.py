"""Resolves user ids to recipients: looks up the field `email` of documents in USERS_COLLECTION.

As in Trigger Email, users who don't exist or have no valid address are skipped. Unlike there, they are listed in the
document (`delivery.info.missingUids`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sender.document.addresses import Address, BadAddress, mailboxes, parse_addresses
from sender.document.document import MAX_RECIPIENTS, MailDocument
from shared.document_ids import is_document_id
from shared.errors import ErrorCode, NotSendable


class Users(Protocol):
    """The application's users."""

    def emails(self, uids: Sequence[str]) -> Mapping[str, str]:
        """The `email` of each user that has one, by uid, in one round trip. Raises `Unavailable`."""
        ...


class UserDocuments(Protocol):
    """The Firestore operation that looks up users."""

    def get_fields(self, paths: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """The named fields of the documents that exist, by path, in one request. Raises `Unavailable`."""
        ...


@dataclass(frozen=True, slots=True)
class FirestoreUsers:
    """`Users` in a collection, by document id."""

    documents: UserDocuments
    collection: str

    def emails(self, uids: Sequence[str]) -> Mapping[str, str]:
        """See `Users.emails`."""
        paths = {f"{self.collection}/{uid}": uid for uid in uids if is_document_id(uid)}
        found = self.documents.get_fields(list(paths), ["email"])
        emails = {paths[path]: fields.get("email") for path, fields in found.items()}
        return {uid: email for uid, email in emails.items() if isinstance(email, str) and email}


def with_users(document: MailDocument, users: Users | None) -> tuple[MailDocument, tuple[str, ...]]:
    """Add the users' addresses to the document's recipients; also returns the uids without an address.

    Raises `NotSendable` if there are uids but no USERS_COLLECTION, no recipients at all, or too many; `Unavailable` if
    the look-up fails.
    """
    if not document.uids:
        return document, ()
    if users is None:
        text = "user ids can't be looked up, because no USERS_COLLECTION is configured."
        raise NotSendable(ErrorCode.VALIDATION, f"Field '{next(iter(document.uids))}': {text}")
    uids = list(dict.fromkeys(uid for given in document.uids.values() for uid in given))
    addresses = {uid: _addresses(email) for uid, email in users.emails(uids).items()}
    missing = tuple(uid for uid in uids if not addresses.get(uid))

    def added(field: str) -> tuple[Address, ...]:
        return tuple(address for uid in document.uids.get(field, ()) for address in addresses.get(uid, ()))

    resolved = replace(
        document,
        to=(*document.to, *added("toUids")),
        cc=(*document.cc, *added("ccUids")),
        bcc=(*document.bcc, *added("bccUids")),
    )
    count = sum(1 for _ in mailboxes((*resolved.to, *resolved.cc, *resolved.bcc)))
    if count > MAX_RECIPIENTS:
        expected = f"at most {MAX_RECIPIENTS:,} recipients in one mail"
        raise NotSendable.field(next(iter(document.uids)), f"the ids of users that make {count:,}", expected)
    if not count:
        found = f"{len(missing)} without an e-mail address in USERS_COLLECTION"
        raise NotSendable.field(next(iter(document.uids)), found, "the id of a user with an e-mail address")
    return resolved, missing


def _addresses(email: str) -> tuple[Address, ...]:
    try:
        return tuple(mailboxes(parse_addresses(email)))
    except BadAddress:
        return ()
