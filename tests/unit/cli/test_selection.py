from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest

from cli.mail import Mail, own_path
from cli.selection import Query, Selection, Window, cancelling_refusal, newest, refusal
from tests.unit.cli.builders import NOW, mail

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("selection", "queries"),
    [
        pytest.param(Selection(), [Query()], id="all"),
        pytest.param(
            Selection("ERROR", ("auth", "throttled"), Window(NOW, NOW)),
            [Query((("delivery.state", "==", "ERROR"), ("delivery.errorCode", "in", ["auth", "throttled"])))],
            id="the-times-have-no-index",
        ),
        pytest.param(
            Selection(partial=True),
            [Query((("delivery.info.rejected", ">", []),)), Query((("delivery.info.pending", ">", []),))],
            id="partial",
        ),
    ],
)
def test_firestore_is_asked_for_what_single_field_indexes_answer(selection: Selection, queries: list[Query]) -> None:
    assert list(selection.queries()) == queries


@pytest.mark.parametrize(
    ("query", "order"),
    [
        (Query(), "__name__"),
        (Query((("a", "==", 1), ("b", "in", [1]))), "__name__"),
        (Query((("a", "array_contains_any", [1]),), any_of=True), "__name__"),
        (Query((("a", ">=", "x"), ("a", "<", "y"))), "a"),
        (Query((("a", ">", []),)), "a"),
    ],
)
def test_a_range_is_found_in_its_own_order_and_all_else_by_id(query: Query, order: str) -> None:
    assert query.order == order


@pytest.mark.parametrize(
    ("subject", "is_partial"),
    [
        pytest.param(mail(state="SUCCESS", info={"accepted": ["a"], "rejected": ["b"], "pending": []}), True, id="no"),
        pytest.param(
            mail(state="SUCCESS", info={"accepted": ["a"], "rejected": [], "pending": ["b"]}), True, id="later"
        ),
        pytest.param(mail(state="SUCCESS", info={"accepted": ["a"], "rejected": [], "pending": []}), False, id="all"),
        pytest.param(mail(state="ERROR", info={"rejected": ["b"]}), False, id="none"),
        pytest.param(mail(state="SUCCESS", info={"rejected": "b", "pending": None}), False, id="wrong-types"),
        pytest.param(mail(state="SUCCESS", info=["rejected"]), False, id="no-map"),
        pytest.param(mail(), False, id="new"),
    ],
)
def test_a_mail_is_partial_if_some_recipients_did_not_get_it(subject: Mail, is_partial: bool) -> None:
    assert Selection(partial=True).includes(subject) is is_partial
    assert Selection().includes(subject)


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
def test_a_range_of_time_applies_to_the_last_change(subject: Mail, moved: datetime) -> None:
    second = timedelta(seconds=1)
    assert subject.moved() == moved
    assert Selection(window=Window(moved, moved)).includes(subject)
    assert not Selection(window=Window(since=moved + second)).includes(subject)
    assert not Selection(window=Window(until=moved - second)).includes(subject)


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


@pytest.mark.parametrize(
    ("subject", "word"),
    [
        pytest.param(mail(), None, id="not-looked-at-yet"),
        pytest.param(mail(state="PENDING"), None, id="queued"),
        pytest.param(mail(state="RETRY"), None, id="to-be-tried-again"),
        pytest.param(mail(state="PROCESSING"), None, id="being-sent"),
        pytest.param(mail(state="SUCCESS"), "success", id="sent"),
        pytest.param(mail(state="ERROR"), "error", id="failed"),
        pytest.param(mail(state="CANCELLED"), "cancelled", id="cancelled-already"),
        pytest.param(mail(state="ON_HOLD"), "on_hold", id="put-aside-by-somebody"),
        pytest.param(None, "missing", id="no-such-document"),
    ],
)
def test_only_mails_that_have_not_ended_are_cancelled(subject: Mail | None, word: str | None) -> None:
    assert cancelling_refusal(subject) == word


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
