"""Recipients by user id: one look-up, and a report of missing users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from sender.document.addresses import Address
from sender.document.document import MailDocument, parse_document
from sender.message.recipients import FirestoreUsers, with_users
from shared.errors import NotSendable

PEOPLE: dict[str, dict[str, Any]] = {
    "users/ada": {"email": "ada@example.com"},
    "users/bob": {"email": "Bob <bob@example.com>"},
    "users/nobody": {"name": "no e-mail"},
    "users/broken": {"email": "not an address"},
    "users/number": {"email": 17},
}


class People:
    """The users collection; records its requests."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []

    def get_fields(self, paths: Sequence[str], names: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        self.requests.append(list(paths))
        assert names == ["email"]
        return {path: PEOPLE[path] for path in paths if path in PEOPLE}


def mail(**recipients: Any) -> MailDocument:
    return parse_document({"message": {"subject": "s", "text": "t"}, **recipients})


def emails(entries: Sequence[Any]) -> list[str]:
    return [entry.email for entry in entries]


def test_users_are_added_to_their_fields_in_one_request() -> None:
    people = People()
    document, missing = with_users(
        mail(to="eve@example.com", toUids=["ada"], ccUids=["bob"], bccUids=["ada"]), FirestoreUsers(people, "users")
    )
    assert (emails(document.to), emails(document.cc), emails(document.bcc)) == (
        ["eve@example.com", "ada@example.com"],
        ["bob@example.com"],
        ["ada@example.com"],
    )
    assert document.cc == (Address("Bob", "bob@example.com"),)
    assert missing == ()
    assert people.requests == [["users/ada", "users/bob"]]


@pytest.mark.parametrize("uid", ["ghost", "nobody", "broken", "number", "a/b", ".."])
def test_a_user_without_an_address_is_left_out_and_reported(uid: str) -> None:
    document, missing = with_users(mail(toUids=["ada", uid]), FirestoreUsers(People(), "users"))
    assert (emails(document.to), missing) == (["ada@example.com"], (uid,))


@pytest.mark.parametrize("uid", ["a/b", ".", "..", "__x__", "é" * 751])
def test_invalid_user_ids_are_not_looked_up(uid: str) -> None:
    people = People()
    with_users(mail(toUids=["ada", uid]), FirestoreUsers(people, "users"))
    assert people.requests == [["users/ada"]]


def test_no_recipients_is_an_error_that_names_the_field() -> None:
    with pytest.raises(NotSendable, match=r"'ccUids'.*2 without an e-mail address"):
        with_users(mail(ccUids=["ghost", "nobody"]), FirestoreUsers(People(), "users"))


def test_without_a_collection_uids_are_an_error_that_names_the_setting() -> None:
    with pytest.raises(NotSendable, match=r"'toUids'.*USERS_COLLECTION"):
        with_users(mail(toUids=["ada"]), None)


def test_without_uids_there_is_no_look_up() -> None:
    people = People()
    with_users(mail(to="eve@example.com"), FirestoreUsers(people, "users"))
    assert not people.requests
