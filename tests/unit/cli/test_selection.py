from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest

from cli.mail import Mail, own_path
from cli.selection import Selection, newest, refusal
from tests.unit.cli.builders import NOW, mail

HOUR = timedelta(hours=1)


def test_firestore_is_asked_for_equalities_only_as_the_times_have_no_index() -> None:
    selection = Selection("ERROR", ("auth", "throttled"), since=NOW)
    assert selection.conditions() == [
        ("delivery.state", "==", "ERROR"),
        ("delivery.errorCode", "in", ["auth", "throttled"]),
    ]
    assert Selection().conditions() == []


@pytest.mark.parametrize(
    ("subject", "moved"),
    [
        pytest.param(mail(created=NOW - HOUR), NOW - HOUR, id="written-and-no-more"),
        pytest.param(mail(created=NOW - HOUR, startTime=NOW), NOW, id="queued"),
        pytest.param(mail(startTime=NOW - HOUR, endTime=NOW), NOW, id="concluded"),
        pytest.param(mail(startTime=NOW - HOUR, endTime=None), NOW - HOUR, id="imported-while-queued"),
        pytest.param(mail(startTime="yesterday"), NOW, id="a-wrong-type-counts-as-absent"),
    ],
)
def test_since_applies_to_the_last_change(subject: Mail, moved: datetime) -> None:
    assert subject.moved() == moved
    assert Selection(since=moved).includes(subject)
    assert not Selection(since=moved + timedelta(seconds=1)).includes(subject)


def test_the_newest_are_found_in_any_order_and_the_others_are_counted() -> None:
    mails = [mail(f"mail/{hours}", startTime=NOW - hours * HOUR) for hours in range(4)]
    for order in permutations(mails):
        assert newest(order, 2) == (mails[:2], 4)


def test_mails_of_the_same_time_do_not_confuse_it() -> None:
    found, total = newest([mail("mail/a"), mail("mail/b"), mail("mail/c")], 2)
    assert (len(found), total) == (2, 3)
    assert newest([], 2) == ([], 0)


@pytest.mark.parametrize(
    ("subject", "word"),
    [
        pytest.param(mail(state="ERROR", errorCode="auth"), None, id="failed"),
        pytest.param(mail(state="ERROR"), None, id="failed-in-the-extension-without-a-code"),
        pytest.param(mail(state="ERROR", errorCode="unknown"), "outcome-unknown", id="may-have-been-sent"),
        pytest.param(mail(state="ERROR", errorCode="lease-expired"), "outcome-unknown", id="sender-vanished"),
        pytest.param(mail(state="RETRY"), "retry", id="set-already"),
        pytest.param(mail(state="PENDING"), "pending", id="queued"),
        pytest.param(mail(state="PROCESSING"), "processing", id="being-sent"),
        pytest.param(mail(state="SUCCESS"), "success", id="sent"),
        pytest.param(mail(), "new", id="not-looked-at-yet"),
        pytest.param(None, "missing", id="no-such-document"),
    ],
)
def test_only_failed_mails_are_retried(subject: Mail | None, word: str | None) -> None:
    assert refusal(subject, asked_for=False) == word


@pytest.mark.parametrize("code", ["unknown", "lease-expired"])
def test_a_mail_that_may_have_been_sent_is_retried_when_it_was_asked_for(code: str) -> None:
    failed = mail(state="ERROR", errorCode=code)
    assert Selection("ERROR", (code,)).names_error_of(failed)
    assert not Selection("ERROR", ("auth",)).names_error_of(failed)
    assert refusal(failed, asked_for=True) is None


@pytest.mark.parametrize(
    ("text", "collection", "path"),
    [
        ("abc", "mail", "mail/abc"),
        ("mail/abc", "mail", "mail/abc"),
        ("abc", "shops/x/mail", "shops/x/mail/abc"),
        ("shops/x/mail/abc", "shops/x/mail", "shops/x/mail/abc"),
    ],
)
def test_a_path_may_be_given_whole_or_as_an_id(text: str, collection: str, path: str) -> None:
    assert own_path(text, collection) == path


@pytest.mark.parametrize("text", ["", "mail/", "users/abc", "mail/abc/more", "/abc"])
def test_a_path_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a document in the collection 'mail'"):
        own_path(text, "mail")
