"""The results that are written to the document after an attempt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest

from sender.message.compose import Mail
from sender.transport.envelope import Envelope, Receipt
from sender.worker.result import (
    MAX_LIST_BYTES,
    MAX_WARNINGS,
    Earlier,
    as_expired,
    cut,
    result_of_failure,
    result_of_receipt,
)
from shared.delivery.model import MAX_TEXT, State
from shared.errors import DeliveryFailed, ErrorCode, NotLoaded, NotSendable, NotSent, OutcomeUnknown

A, B, C = "a@x.y", "b@x.y", "c@x.y"


def mail(*recipients: str) -> Mail:
    return Mail(Envelope("shop@x.y", recipients or (A, B, C)), b"", "<id@x.y>", warnings=("composed",))


def rest(settled: tuple[str, ...], *recipients: str) -> Mail:
    """A mail that leaves out the recipients `settled` by an earlier attempt."""
    return replace(mail(*recipients), settled=settled)


def earlier(
    accepted: str = "", rejected: str = "", response: str | None = "250 Ok", info: dict[str, Any] | None = None
) -> Earlier:
    """What an earlier attempt has settled; addresses are separated by spaces."""
    return Earlier(frozenset(accepted.split()), frozenset(rejected.split()), response, info or {})


def refused(*rejected: str) -> NotSent:
    failure = NotSent(ErrorCode.TEMPORARY, "451 Later")
    failure.rejected = rejected
    return failure


def lists(info: Any) -> tuple[list[str], list[str], list[str]]:
    return info["accepted"], info["rejected"], info["pending"]


class TestHistory:
    @pytest.mark.parametrize("composed", [mail(A), None])
    def test_a_failed_attempt_says_why(self, composed: Mail | None) -> None:
        assert result_of_failure(NotSent(ErrorCode.TEMPORARY, "451 Later"), composed, None).response == "451 Later"


@pytest.mark.parametrize(("text", "shown"), [("x" * 30, "x" * 30), ("x" * 31, "x" * 12 + " … (31 characters)")])
def test_a_text_is_cut_only_if_it_is_too_long(text: str, shown: str) -> None:
    assert cut(text, 30) == shown


class TestSent:
    def test_to_all_is_settled(self) -> None:
        result = result_of_receipt(mail(A), Receipt((A,), (), (), "250 Ok"), None)
        assert (result.state, result.unsettled) == (State.SUCCESS, False)
        assert result.info is not None
        assert list(result.info) == ["messageId", "sendgridQueueId", "accepted", "rejected", "pending", "response"]

    def test_includes_the_queue_id(self) -> None:
        result = result_of_receipt(mail(A), Receipt((A,), (), (), "250 Ok", queue_id="4F2"), None)
        assert result.info is not None
        assert result.info["sendgridQueueId"] == "4F2"

    def test_says_which_transport_took_over(self) -> None:
        result = result_of_receipt(mail(A), Receipt((A,), (), (), "250 Ok", transport="spare"), None)
        assert result.info is not None
        assert (result.info["transport"], result.transport) == ("spare", "spare")

    def test_has_the_warnings_of_the_mail_and_the_transport(self) -> None:
        result = result_of_receipt(mail(A), Receipt((A,), (), (), "250 Ok", warnings=("sent",)), None)
        assert result.warnings == ("composed", "sent")

    def test_says_who_was_withheld(self) -> None:
        result = result_of_receipt(replace(mail(A), withheld=(B,)), Receipt((A,), (), (), "250 Ok"), None)
        assert result.info is not None
        assert result.info["withheld"] == [B]

    def test_has_as_many_warnings_as_fit(self) -> None:
        written = tuple(f"{number}" for number in range(MAX_WARNINGS))
        result = result_of_receipt(replace(mail(A), warnings=written), Receipt((A,), (), (), "250 Ok"), None)
        assert result.warnings == written

    def test_to_some_is_unsettled_with_the_rest_pending(self) -> None:
        result = result_of_receipt(mail(), Receipt((A,), (B,), (C,), "250 Ok"), None)
        assert (result.unsettled, lists(result.progress)) == (True, ([A], [B], [C]))

    def test_a_later_attempt_adds_to_the_earlier_outcome(self) -> None:
        before = earlier(A, B, "250 first")
        result = result_of_receipt(rest((A, B), C), Receipt((C,), (), (), "250 second"), before)
        assert result.info is not None
        assert (lists(result.info), result.info["response"]) == (([A, C], [B], []), "250 second")

    def test_the_servers_wait_for_pending_recipients_is_kept(self) -> None:
        receipt = Receipt((A,), (), (B,), "250 Ok", retry_after=300)
        assert result_of_receipt(mail(A, B), receipt, None).retry_after == 300


class TestFailed:
    @pytest.mark.parametrize("before", [None, earlier(A)])
    def test_the_servers_wait_is_kept(self, before: Earlier | None) -> None:
        failure = refused()
        failure.retry_after = 300
        assert result_of_failure(failure, rest((A,), B), before).retry_after == 300

    @pytest.mark.parametrize(
        ("failure", "unsettled"),
        [
            pytest.param(NotSent(ErrorCode.CONNECTION, "No."), True, id="no-connection"),
            pytest.param(NotSent(ErrorCode.THROTTLED, "No."), True, id="throttled"),
            pytest.param(NotSent(ErrorCode.TEMPORARY, "No."), True, id="temporary"),
            pytest.param(OutcomeUnknown("Lost."), True, id="unknown-for-policy-to-decide"),
            pytest.param(NotSent(ErrorCode.REJECTED, "No."), False, id="rejected"),
            pytest.param(NotSent(ErrorCode.AUTH, "No."), False, id="login-refused"),
            pytest.param(NotSendable(ErrorCode.VALIDATION, "No."), False, id="invalid-document"),
            pytest.param(NotLoaded(ErrorCode.ATTACHMENT, "No."), True, id="a-file-that-may-be-there-later"),
        ],
    )
    def test_only_transient_failures_are_unsettled(self, failure: DeliveryFailed, unsettled: bool) -> None:
        result = result_of_failure(failure, mail(), None)
        assert (result.state, result.unsettled, result.info) == (State.ERROR, unsettled, None)
        assert (result.error, result.error_code) == (str(failure), failure.code)
        assert (result.progress, result.warnings) == (None, ("composed",))

    @pytest.mark.parametrize(
        "failure",
        [
            pytest.param(OutcomeUnknown("Lost."), id="unknown"),
            pytest.param(NotSent(ErrorCode.REJECTED, "No."), id="rejected"),
            pytest.param(NotSendable(ErrorCode.VALIDATION, "No."), id="invalid-document"),
        ],
    )
    def test_after_the_mail_has_expired_a_failure_that_is_final_or_unknown_stays(self, failure: DeliveryFailed) -> None:
        assert as_expired(failure) is failure

    @pytest.mark.parametrize(
        ("failure", "rejected"),
        [
            pytest.param(refused(), (), id="refused-for-now"),
            pytest.param(refused(B), (B,), id="some-for-good"),
            pytest.param(NotLoaded(ErrorCode.ATTACHMENT, "451 Later"), (), id="a-file-that-may-be-there-later"),
        ],
    )
    def test_and_one_that_is_temporary_is_due_to_that(self, failure: DeliveryFailed, rejected: tuple[str, ...]) -> None:
        expired = as_expired(failure)
        assert isinstance(expired, NotSent)
        assert (expired.code, expired.rejected) == (ErrorCode.EXPIRED, rejected)
        assert str(expired) == "The mail expired ('expiresAt') before a server could take it. 451 Later"
        assert not result_of_failure(expired, mail(), None).unsettled

    def test_says_which_transport_took_over(self) -> None:
        unknown = OutcomeUnknown("?")
        assert result_of_failure(unknown, mail(), None).transport == "default"
        unknown.transport = "spare"
        assert result_of_failure(unknown, mail(), None).transport == "spare"

    def test_a_mail_that_could_not_be_composed_has_no_warnings(self) -> None:
        assert result_of_failure(NotSendable(ErrorCode.VALIDATION, "No."), None, None).warnings == ()

    def test_permanently_refused_recipients_are_left_out_next_time(self) -> None:
        result = result_of_failure(refused(B), mail(), None)
        assert (result.info, lists(result.progress)) == (None, ([], [B], [A, C]))
        assert (result.unsettled, result.warnings) == (True, ("composed",))

    def test_if_a_recipient_was_reached_earlier_the_state_is_success(self) -> None:
        result = result_of_failure(NotSent(ErrorCode.CONNECTION, "No."), rest((A, B), C), earlier(A, B))
        assert (result.state, result.unsettled, result.error) == (State.SUCCESS, True, None)
        assert lists(result.info) == ([A], [B], [C])
        assert result.info is not None
        assert (result.info["response"], result.warnings) == ("250 Ok", ("composed",))
        assert result.progress == result.info

    def test_a_permanent_failure_is_not_retried_for_pending_recipients(self) -> None:
        result = result_of_failure(NotSent(ErrorCode.AUTH, "535 No"), rest((A,), C), earlier(A))
        assert (result.state, result.unsettled, lists(result.info)) == (State.SUCCESS, False, ([A], [], [C]))

    def test_when_the_last_recipient_is_permanently_refused_nothing_is_pending(self) -> None:
        failure = NotSent(ErrorCode.REJECTED, "550 No")
        failure.rejected = (C,)
        result = result_of_failure(failure, rest((A,), C), earlier(A))
        assert (result.unsettled, lists(result.info)) == (False, ([A], [C], []))


class TestNotComposed:
    """A retry for the pending recipients that can't be composed, for example because a download fails."""

    INFO: ClassVar[dict[str, Any]] = {"accepted": [A], "rejected": [], "pending": [B], "response": "250 Ok"}

    def test_if_a_recipient_was_reached_earlier_the_state_is_success_and_the_rest_stays_pending(self) -> None:
        result = result_of_failure(NotLoaded(ErrorCode.ATTACHMENT, "503"), None, earlier(A, info=self.INFO))
        assert (result.state, result.info, result.unsettled) == (State.SUCCESS, None, True)
        assert result.progress == self.INFO

    def test_if_no_recipient_was_reached_it_is_an_error(self) -> None:
        before = earlier("", A, info={"rejected": [A], "pending": [B]})
        result = result_of_failure(NotSendable(ErrorCode.ATTACHMENT, "404"), None, before)
        assert (result.state, result.unsettled, result.progress) == (State.ERROR, False, before.info)


class TestMissingUids:
    def test_are_reported_if_there_are_any(self) -> None:
        receipt = Receipt((A,), (), (), "250 Ok")
        result = result_of_receipt(replace(mail(A), missing_uids=("ghost",)), receipt, None)
        assert result.info is not None
        assert result.info["missingUids"] == ["ghost"]


class TestEarlier:
    INFO: ClassVar[dict[str, Any]] = {"accepted": [A], "rejected": [], "pending": [B], "response": "250 Ok"}

    def test_is_read_from_a_document_that_resumes(self) -> None:
        fields = {"delivery": {"resumes": True, "info": self.INFO}}
        assert Earlier.of(fields) == earlier(A, info=self.INFO)

    @pytest.mark.parametrize(
        "delivery",
        [
            pytest.param(None, id="new"),
            pytest.param({"info": INFO}, id="a-users-retry-is-for-all"),
            pytest.param({"resumes": True}, id="no-earlier-outcome"),
            pytest.param({"resumes": True, "info": {**INFO, "pending": []}}, id="nobody-is-pending"),
            pytest.param({"resumes": 1, "info": INFO}, id="resumes-not-a-boolean"),
            pytest.param({"resumes": True, "info": [INFO]}, id="info-not-a-map"),
            pytest.param({"resumes": True, "info": {**INFO, "accepted": [A, 5]}}, id="accepted-not-a-text"),
            pytest.param({"resumes": True, "info": {**INFO, "rejected": [None]}}, id="rejected-not-a-text"),
            pytest.param({"resumes": True, "info": {**INFO, "pending": [{"a": 1}]}}, id="pending-not-a-text"),
            pytest.param({"resumes": True, "info": {**INFO, "pending": B}}, id="pending-not-a-list"),
            pytest.param({"resumes": True, "info": {**INFO, "response": 250}}, id="response-not-a-text"),
        ],
    )
    def test_is_none_if_the_attempt_is_for_all(self, delivery: Any) -> None:
        assert Earlier.of({"delivery": delivery}) is None

    def test_carries_along_only_the_documents_own_recipients_each_once(self) -> None:
        before = earlier(f"{A} victim@x.y", f"{B} {A} eve@x.y")
        result = result_of_receipt(rest((A, B), C), Receipt((C,), (), (), "250 Ok"), before)
        assert lists(result.info) == ([A, C], [B], [])

    def test_with_nobody_left_the_state_is_that_of_the_settled_recipients(self) -> None:
        failure = NotSent(ErrorCode.REJECTED, "All refused.")
        nobody = Envelope("shop@x.y", ())
        reached = result_of_failure(failure, replace(rest((A, B)), envelope=nobody), earlier(A, B))
        assert (reached.state, reached.unsettled, lists(reached.info)) == (State.SUCCESS, False, ([A], [B], []))
        refused = result_of_failure(failure, replace(rest((B,)), envelope=nobody), earlier(A, B))
        assert (refused.state, refused.unsettled, refused.error) == (State.ERROR, False, "All refused.")


class TestBounds:
    def test_long_texts_are_cut_and_say_how_long_they_were(self) -> None:
        failed = result_of_failure(NotSent(ErrorCode.REJECTED, "x" * 61_761), mail(), None)
        sent = result_of_receipt(mail(A), Receipt((A,), (), (), "y" * 61_761), None)
        assert sent.info is not None
        for text in (failed.error or "", str(sent.info["response"])):
            assert (len(text), text[-22:]) == (MAX_TEXT, " … (61,761 characters)")

    def test_further_warnings_are_counted(self) -> None:
        warnings = tuple("w" * (number % 1000) for number in range(20_000))
        result = result_of_receipt(mail(A), Receipt((A,), (), (), "250 Ok", warnings=warnings), None)
        assert (len(result.warnings), result.warnings[-1]) == (MAX_WARNINGS + 1, "19,981 more")
        assert sum(map(len, result.warnings)) <= 20 * 500 + 11

    def test_long_lists_are_cut_with_the_number_of_missing_entries(self) -> None:
        addresses = tuple(f"{number:0310}@x.y" for number in range(1000))
        result = result_of_receipt(mail(*addresses), Receipt(addresses[:999], (), addresses[999:], "250"), None)
        assert result.info is not None
        assert result.info["omitted"] == {"accepted": 999 - MAX_LIST_BYTES // 314}
        assert result.info["accepted"] == list(addresses[: MAX_LIST_BYTES // 314])

    def test_a_list_just_within_the_bound_is_whole(self) -> None:
        addresses = tuple(f"{number:096}@x.y" for number in range(MAX_LIST_BYTES // 100))
        result = result_of_receipt(mail(*addresses), Receipt(addresses, (), (), "250 Ok"), None)
        assert result.info is not None
        assert result.info["accepted"] == list(addresses)
        assert "omitted" not in result.info

    def test_the_next_attempt_gets_every_address(self) -> None:
        addresses = tuple(f"{number:0310}@x.y" for number in range(1000))
        result = result_of_receipt(mail(*addresses), Receipt(addresses[:1], (), addresses[1:], "250"), None)
        assert lists(result.progress) == ([addresses[0]], [], list(addresses[1:]))
