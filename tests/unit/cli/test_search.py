from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cli.mail import Mail
from cli.search import Search, bare_address
from cli.selection import Query, Window
from tests.unit.cli.builders import NOW

TO_ADA = Search(recipient="ada@example.com")


def found(fields: dict[str, Any]) -> Mail:
    return Mail("mail/a", fields, NOW, version=NOW)


def sent(**info: Any) -> Mail:
    return found({"delivery": {"state": "SUCCESS", "info": info}})


class TestQueries:
    def test_a_recipient_is_looked_up_wherever_addresses_are_written(self) -> None:
        [query] = TO_ADA.queries()
        assert query.any_of
        assert {(field, operator) for field, operator, _ in query.conditions} == {
            *((f"delivery.info.{outcome}", "array_contains_any") for outcome in ("accepted", "rejected", "pending")),
            *((field, "array_contains_any") for field in ("to", "cc", "bcc")),
            *((field, "in") for field in ("to", "cc", "bcc")),
        }
        assert all(value == ["ada@example.com"] for _, _, value in query.conditions)

    def test_an_address_is_looked_up_as_given_as_firepost_writes_it_and_in_lower_case(self) -> None:
        [query] = Search(recipient="Ada <Ada@Bücher.Example>").queries()
        spellings = ["Ada <Ada@Bücher.Example>", "Ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"]
        assert all(value == spellings for _, _, value in query.conditions)

    def test_no_address_needs_more_than_the_30_alternatives_that_firestore_allows(self) -> None:
        [query] = Search(recipient="Ada <Ada@Example.com>").queries()
        assert sum(len(value) for _, _, value in query.conditions) <= 30

    @pytest.mark.parametrize("given", ["x@example.com", "<x@example.com>", " <x@example.com> "])
    def test_a_message_id_is_looked_up_with_and_without_brackets(self, given: str) -> None:
        both = ["<x@example.com>", "x@example.com"]
        fields = ("delivery.info.messageId", "message.messageId")
        assert Search(message_id=given).queries() == (
            Query(tuple((field, "in", both) for field in fields), any_of=True),
        )

    def test_a_subject_is_looked_up_by_its_beginning_whatever_follows(self) -> None:
        for query in Search(subject="Hi").queries():
            (_, _, first), (_, _, end) = query.conditions
            assert all(first <= text < end for text in ("Hi", "Hi there", "Hiß", "Hi 😀", "Hi\uffff", "Hi\U0010fffd"))
            assert not any(first <= text < end for text in ("H", "Hj", "hi", "Ha"))

    def test_only_a_providers_id_alone_needs_a_scan(self) -> None:
        assert Search(provider_id="4Yq").needs_scan
        assert Search(provider_id="4Yq").queries() == (Query((("delivery.info.sendgridQueueId", "==", "4Yq"),)),)
        assert not Search(provider_id="4Yq", recipient="ada@example.com").needs_scan
        assert not TO_ADA.needs_scan

    @pytest.mark.parametrize(
        ("search", "field"),
        [
            (Search("a@b.c", "x", "s", "p"), "delivery.info.messageId"),
            (Search("a@b.c", None, "s", "p"), "delivery.info.accepted"),
            (Search(None, None, "s", "p"), "message.subject"),
        ],
    )
    def test_the_most_telling_of_several_texts_is_looked_up(self, search: Search, field: str) -> None:
        assert search.queries()[0].conditions[0][0] == field


class TestMatches:
    @pytest.mark.parametrize(
        "mail",
        [
            pytest.param(sent(accepted=["ada@example.com"]), id="accepted"),
            pytest.param(sent(rejected=["x@y.z", "ada@example.com"]), id="rejected"),
            pytest.param(sent(pending=["ADA@Example.com"]), id="pending-in-another-case"),
            pytest.param(sent(accepted=["x@y.z"], withheld=["ada@example.com"]), id="withheld"),
            pytest.param(found({"to": "ada@example.com"}), id="to"),
            pytest.param(found({"cc": ["x@y.z", "Ada Lovelace <Ada@EXAMPLE.com>"]}), id="with-a-name"),
            pytest.param(found({"bcc": "x@y.z, Ada <ada@example.com>"}), id="one-of-a-text"),
            pytest.param(found({"to": "Team: x@y.z, ada@example.com;"}), id="in-a-group"),
        ],
    )
    def test_a_recipient_is_recognized_in_any_form(self, mail: Mail) -> None:
        assert TO_ADA.includes(mail)
        assert Search(recipient="Ada <ADA@example.com>").includes(mail)
        assert not Search(recipient="da@example.com").includes(mail)

    @pytest.mark.parametrize(
        "fields",
        [
            {},
            {"to": 7, "cc": [None, {"a": 1}], "bcc": {}},
            {"to": "not an address", "delivery": 3},
            {"delivery": {"info": {"accepted": "ada@example.com", "rejected": [7, None]}}},
            {"message": "Subject", "delivery": {"info": {"response": 250, "messageId": []}}},
        ],
    )
    def test_documents_of_any_shape_are_looked_at(self, fields: dict[str, Any]) -> None:
        for search in (TO_ADA, Search(message_id="x"), Search(subject="x"), Search(provider_id="x")):
            assert not search.includes(found(fields))

    @pytest.mark.parametrize(
        ("search", "mail"),
        [
            (Search(message_id="X@example.com"), sent(messageId="<x@example.com>")),
            (Search(message_id="<x@example.com>"), found({"message": {"messageId": "x@example.com"}})),
            (Search(subject="your ORDER"), found({"message": {"subject": "Your order 17"}})),
            (Search(subject="Your order"), found({"delivery": {"rendered": {"subject": "Your order 17"}}})),
            (Search(provider_id="4YqTvK1LzSz9s"), sent(response="250 2.0.0 Ok: queued as 4YqTvK1LzSz9s")),
            (Search(provider_id="abc"), sent(sendgridQueueId="abc")),
            (Search(provider_id="xyz"), found({"delivery": {"error": "554 5.7.1 Refused (id XYZ)"}})),
        ],
    )
    def test_the_other_texts_are_recognized_in_upper_and_lower_case(self, search: Search, mail: Mail) -> None:
        assert search.includes(mail)

    def test_all_that_is_given_must_fit(self) -> None:
        mail = found({"to": "ada@example.com", "message": {"subject": "Hi"}})
        assert Search("ada@example.com", subject="Hi").includes(mail)
        assert not Search("ada@example.com", subject="Ho").includes(mail)
        assert not Search("bob@example.com", subject="Hi").includes(mail)
        assert not Search(subject="Hi", window=Window(until=NOW - timedelta(1))).includes(mail)


@pytest.mark.parametrize("text", ["", "ada", "a@b.c, d@e.f", "undisclosed-recipients:;", "a@b.c\nx", "@"])
def test_what_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        bare_address(text)
