"""The guard: no mail leaves for anybody whom RECIPIENTS_ALLOWED and RECIPIENTS_REDIRECT do not name."""

from __future__ import annotations

import email
import email.policy
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.document.addresses import parse_addresses
from sender.factory import routed_encoder
from sender.message.compose import Composer, Mail, encode_mime
from sender.message.guard import HEADER, MAX_HEADER_BYTES, Guard
from sender.message.sendgrid_json import encode_sendgrid_request
from sender.message.template_repository import FirestoreTemplates
from sender.transport.routing import Routes
from shared.delivery.policy import Policy
from shared.errors import ErrorCode, Misconfigured, NotSendable
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, LEASE, SenderParts
from tests.fakes import Clock, MemoryDatabase, MemoryTransport, TemplateDatabase

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MESSAGE = {"subject": "Hi", "text": "Hello"}
INBOX = "inbox@staging.example"
ADA, BOB, EVE = "ada@example.com", "bob@example.org", "eve@example.net"


def made(allowed: str | None, redirect: str | None, /, encode: Any = encode_mime, **fields: Any) -> Mail:
    compose = replace(COMPOSER, encode=encode, guard=Guard.parse(allowed, redirect))
    return compose({"message": MESSAGE, **fields}, seed="s", now=NOW)


def read(mail: Mail) -> EmailMessage:
    message = email.message_from_bytes(mail.data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


class TestPatterns:
    @pytest.mark.parametrize(
        ("allowed", "address", "is_allowed"),
        [
            pytest.param(ADA, ADA, True, id="address"),
            pytest.param(ADA, "Ada@Example.COM", True, id="case does not count"),
            pytest.param("ADA@Example.com", ADA, True, id="nor in the setting"),
            pytest.param(ADA, "ada+test@example.com", False, id="a plus address is its own"),
            pytest.param(ADA, "a.da@example.com", False, id="dots count"),
            pytest.param(ADA, "ada@example.com.evil.org", False, id="longer domain"),
            pytest.param(ADA, "xada@example.com", False, id="longer local part"),
            pytest.param(ADA, '"ada"@example.com', False, id="a quoted local part is its own"),
            pytest.param("k@example.com", "\u212a@example.com", False, id="a look-alike with the same lower case"),
            pytest.param("stra\u00dfe@example.com", "strasse@example.com", False, id="case is not folded further"),
            pytest.param("*@example.com", "any.body+x@example.com", True, id="domain"),
            pytest.param("*@example.com", '"@ b"@example.com', True, id="domain, odd local part"),
            pytest.param("*@example.com", "ada@sub.example.com", False, id="domain without subdomains"),
            pytest.param("*@example.com", "ada@badexample.com", False, id="the end of a longer label"),
            pytest.param("*@*.example.com", "ada@a.b.example.com", True, id="subdomain of a subdomain"),
            pytest.param("*@*.example.com", "ada@example.com", False, id="subdomains without the domain"),
            pytest.param("*@*.example.com", "*@example.com", False, id="a recipient that looks like a pattern"),
            pytest.param("*@*.com", "ada@example.com", True, id="all below a top-level domain"),
            pytest.param("*@b\u00fccher.example", "ada@XN--BCHER-KVA.example", True, id="U-label in the setting"),
            pytest.param("*@xn--bcher-kva.example", "ada@B\u00dcCHER.example.", True, id="A-label in the setting"),
            pytest.param("*@*.b\u00fccher.example", "ada@m.b\u00fccher.example", True, id="subdomain of a U-label"),
            pytest.param("ada@[192.0.2.1]", "ada@[192.0.2.1]", True, id="address literal"),
            pytest.param("*@[192.0.2.1]", "ada@[192.0.2.2]", False, id="another address literal"),
            pytest.param(f" , {BOB} ,,*@example.com, ", ADA, True, id="list with blanks"),
        ],
    )
    def test_an_address_is_allowed(self, allowed: str, address: str, is_allowed: bool) -> None:
        guard = Guard.parse(allowed, None)
        [parsed] = parse_addresses(address)
        assert guard
        assert guard.allows(parsed) is is_allowed  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "wrong",
        [
            *("", " ", ",", " , ,"),
            *("*", "@example.com", "example.com", "*@", "*@*", "*@*.", "*@*.*.com", "*@ex*mple.com", "*@sub.*.com"),
            *("ada*@example.com", "**@example.com", '"*"@example.com', "ada@*.example.com", "*.example.com"),
            *(
                "Ada <ada@example.com>",
                "ada@example.com (Ada)",
                "Staff: ada@example.com;",
                "a@b.c;d@e.f",
                "a@b.c d@e.f",
            ),
            *("a@b.c\nd@e.f", "a\u200bda@example.com", "ada@example..com", "*@b\u00fccher..example", "\ud800@b.c"),
            "ada@" + "x" * 300 + ".com",
        ],
    )
    def test_anything_else_stops_the_start_with_one_line(self, wrong: str) -> None:
        for text in (wrong, f"{ADA},{wrong}" if wrong.strip(" ,") else wrong):
            with pytest.raises(Misconfigured, match=r"^RECIPIENTS_ALLOWED") as stopped:
                Guard.parse(text, None)
            assert "\n" not in str(stopped.value)

    def test_the_line_says_which_entry_is_wrong_without_quoting_it(self) -> None:
        with pytest.raises(Misconfigured) as stopped:
            Guard.parse(f"{ADA}, s3cret", None)
        assert "entry 2 is an address without an @" in str(stopped.value)
        assert "s3cret" not in str(stopped.value)

    @pytest.mark.parametrize("wrong", ["", ",", "*@example.com", "*@*.example.com", "staging", "Staging <a@b.c>"])
    def test_mail_can_be_redirected_to_addresses_only(self, wrong: str) -> None:
        with pytest.raises(Misconfigured, match=r"^RECIPIENTS_REDIRECT"):
            Guard.parse(None, wrong)

    def test_without_settings_there_is_no_guard(self) -> None:
        assert Guard.parse(None, None) is None


class TestAllowed:
    def test_others_are_withheld_from_envelope_and_headers_and_reported(self) -> None:
        mail = made(ADA, None, to=[f"Ada <{ADA}>", f"Bob <{BOB}>"], cc=f"Team: {EVE}, {ADA};", bcc=BOB)
        message = read(mail)
        assert mail.envelope.recipients == (ADA,)
        assert mail.withheld == (BOB, EVE)
        assert (message["To"], message["Cc"]) == (f"Ada <{ADA}>", f"Team: {ADA};")
        assert message[HEADER] == f"{ADA}, {BOB}, {EVE}"

    def test_if_all_are_allowed_the_mail_is_as_without_a_guard(self) -> None:
        fields = {"to": [ADA, BOB], "bcc": EVE}
        assert made(f"{ADA},{BOB},{EVE}", None, **fields) == made(None, None, **fields)

    def test_if_nobody_is_left_the_error_names_the_setting_and_nobody(self) -> None:
        with pytest.raises(NotSendable) as stopped:
            made(ADA, None, to=BOB, cc=EVE)
        assert stopped.value.code is ErrorCode.NOT_ALLOWED
        assert "RECIPIENTS_ALLOWED" in str(stopped.value)
        assert "@" not in str(stopped.value)

    def test_a_hidden_recipient_is_not_revealed_to_those_who_get_the_mail(self) -> None:
        mail = made(ADA, None, to=ADA, bcc=BOB)
        assert (mail.envelope.recipients, mail.withheld) == ((ADA,), (BOB,))
        assert BOB.encode() not in mail.data

    def test_without_readable_originals_there_is_no_header(self) -> None:
        assert read(made(ADA, None, bcc=[ADA, BOB]))[HEADER] is None


class TestRedirect:
    def test_every_mail_goes_there_and_shows_for_whom_it_was(self) -> None:
        mail = made(None, INBOX, to=[f"Ada <{ADA}>", BOB], cc=EVE, bcc="hidden@example.com")
        message = read(mail)
        assert mail.envelope.recipients == (INBOX,)
        assert mail.withheld == (ADA, BOB, EVE, "hidden@example.com")
        assert (message["To"], message["Cc"]) == (f'"{ADA} and 1 more" <{INBOX}>', None)
        assert message[HEADER] == f"{ADA}, {BOB}, {EVE}, hidden@example.com"

    def test_several_addresses_all_get_it_once(self) -> None:
        mail = made(None, f"{INBOX}, qa@staging.example,{INBOX}", to=ADA, cc=BOB)
        assert mail.envelope.recipients == (INBOX, "qa@staging.example")
        assert read(mail)["To"] == f'"{ADA}" <{INBOX}>, "{ADA}" <qa@staging.example>'

    def test_what_goes_there_anyway_is_not_changed(self) -> None:
        mail = made(None, INBOX, to="Inbox@Staging.example")
        assert (mail.envelope.recipients, mail.withheld) == (("Inbox@staging.example",), ())
        assert read(mail)[HEADER] is None

    def test_with_both_settings_those_allowed_get_it_directly_and_no_hidden_ones_are_revealed(self) -> None:
        mail = made(ADA, INBOX, to=ADA, cc=BOB, bcc=EVE)
        message = read(mail)
        assert (mail.envelope.recipients, mail.withheld) == ((ADA, INBOX), (BOB, EVE))
        assert (message["To"], message["Cc"]) == (ADA, f'"{BOB}" <{INBOX}>')
        assert message[HEADER] == f"{ADA}, {BOB}"
        assert EVE.encode() not in mail.data

    def test_in_place_of_hidden_recipients_the_address_is_hidden_too(self) -> None:
        mail = made(ADA, INBOX, to=ADA, bcc=BOB)
        assert mail.envelope.recipients == (ADA, INBOX)
        assert read(mail)["To"] == ADA
        assert INBOX.encode() not in mail.data

    def test_a_non_ascii_original_needs_no_special_server(self) -> None:
        mail = made(None, INBOX, to="d\u00f6rte@example.com")
        assert not mail.envelope.needs_smtputf8
        assert mail.data.isascii()
        assert read(mail)[HEADER] == "d\u00f6rte@example.com"

    def test_many_originals_make_a_header_of_limited_length(self) -> None:
        everyone = [f"{'x' * 50}{number}@example.com" for number in range(1_000)]
        mail = made(None, INBOX, bcc=everyone)
        header = str(read(mail)[HEADER])
        assert len(header) < 1.1 * MAX_HEADER_BYTES
        assert header.endswith(f", and {1_000 - header.count('@')} more")
        assert max(map(len, mail.data.split(b"\r\n"))) <= 998
        assert len(mail.withheld) == 1_000

    def test_an_application_cannot_pretend_to_be_the_guard(self) -> None:
        mail = made(None, INBOX, to=ADA, headers={HEADER: "forged@example.com"})
        assert read(mail).get_all(HEADER) == [ADA]


class TestOtherWaysToNameRecipients:
    @pytest.mark.parametrize(
        ("fields", "path"),
        [
            pytest.param({"headers": {"X-SMTPAPI": f'{{"to": ["{EVE}"]}}'}}, "headers.X-SMTPAPI", id="SendGrid's SMTP"),
            pytest.param({"headers": {"X-MC-BccAddress": EVE}}, "headers.X-MC-BccAddress", id="Mailchimp's SMTP"),
            pytest.param({"headers": {"x-msys-api": f'"{EVE}"'}}, "headers.x-msys-api", id="SparkPost's SMTP"),
            pytest.param({"message": {**MESSAGE, "dsn": {"recipient": EVE}}}, "message.dsn.recipient", id="ORCPT"),
        ],
    )
    def test_are_not_sent_over_smtp(self, fields: dict[str, Any], path: str) -> None:
        mail = made(ADA, None, to=ADA, **fields)
        assert EVE.encode() not in mail.data
        assert mail.envelope.dsn is None or mail.envelope.dsn.recipient is None
        [warning] = mail.warnings
        assert f"'{path}' can name further recipients" in warning
        assert not made(None, None, to=ADA, **fields).warnings

    @pytest.mark.parametrize("name", ["bcc", "BCC", "spamCheck", "spam_check", "forwardSpam", "newThing"])
    def test_are_not_sent_to_sendgrid(self, name: str) -> None:
        given = {name: {"enable": True, "email": EVE}, "sandboxMode": {"enable": True}, "footer": {"text": "x"}}
        mail = made(ADA, None, encode_sendgrid_request, to=ADA, sendGrid={"mailSettings": given})
        assert list(json.loads(mail.data)["mail_settings"]) == ["sandbox_mode", "footer"]
        [warning] = mail.warnings
        assert f"'sendGrid.mailSettings.{name}' can name further recipients" in warning


def test_sendgrid_gets_only_those_who_may_get_mail() -> None:
    mail = made(ADA, INBOX, encode_sendgrid_request, to=[BOB, f"Ada <{ADA}>"], cc=EVE)
    request = json.loads(mail.data)
    [personalization] = request["personalizations"]
    assert personalization == {"to": [{"email": ADA, "name": "Ada"}, {"email": INBOX, "name": BOB}]}
    assert request["headers"][HEADER] == f"{BOB}, {ADA}, {EVE}"
    assert mail.envelope.recipients == (ADA, INBOX)


class Attempts:
    """A sender with a guard that can change between attempts, and the document `mail/a`."""

    def __init__(self, **fields: Any) -> None:
        self.clock, self.database, self.transport = Clock(), MemoryDatabase(), MemoryTransport()
        self.database.put("mail/a", {"message": MESSAGE, **fields})

    def attempt(self, allowed: str | None, redirect: str | None, compose: Composer = COMPOSER) -> dict[str, Any]:
        parts = SenderParts(
            Policy(LEASE, max_attempts=9),
            self.database,
            self.transport,
            clock=self.clock,
            compose=replace(compose, guard=Guard.parse(allowed, redirect)),
        )
        self.clock.advance(timedelta(hours=2))
        parts.sender().handle(ReceivedMessage(b'{"document": "mail/a"}', {}, "77"))
        delivery: dict[str, Any] = self.database.documents["mail/a"].fields["delivery"]
        return delivery


class TestAttempts:
    def test_the_result_lists_who_was_addressed_and_who_was_withheld(self) -> None:
        delivery = Attempts(to=[ADA, BOB]).attempt(None, INBOX)
        assert delivery["state"] == "SUCCESS"
        assert (delivery["info"]["accepted"], delivery["info"]["withheld"]) == ([INBOX], [ADA, BOB])

    def test_if_nobody_is_left_the_document_says_so_and_nothing_is_sent_or_retried(self) -> None:
        attempts = Attempts(to=BOB)
        delivery = attempts.attempt(ADA, None)
        assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "not-allowed")
        assert not attempts.transport.sent

    def test_a_retry_goes_to_the_pending_ones_of_those_who_were_addressed(self) -> None:
        attempts = Attempts(to=BOB)
        attempts.transport.defer = {INBOX}
        assert attempts.attempt(None, f"{INBOX}, qa@staging.example")["state"] == "RETRY"
        attempts.transport.defer = set()
        delivery = attempts.attempt(None, f"{INBOX}, qa@staging.example")
        assert [envelope.recipients for envelope, _ in attempts.transport.sent] == [
            (INBOX, "qa@staging.example"),
            (INBOX,),
        ]
        assert delivery["info"]["accepted"] == ["qa@staging.example", INBOX]
        assert delivery["info"]["withheld"] == [BOB]

    def test_a_guard_that_comes_between_two_attempts_keeps_what_was_accepted_and_redirects_the_rest(self) -> None:
        attempts = Attempts(to=[ADA, BOB])
        attempts.transport.defer = {BOB}
        assert attempts.attempt(None, None)["state"] == "RETRY"
        info = attempts.attempt(None, INBOX)["info"]
        assert (info["accepted"], info["pending"], info["withheld"]) == ([ADA, INBOX], [], [BOB])
        assert attempts.transport.sent_to(BOB) == 1

    def test_a_guard_that_leaves_nobody_between_two_attempts_ends_the_mail_with_what_was_accepted(self) -> None:
        attempts = Attempts(to=[ADA, BOB])
        attempts.transport.defer = {BOB}
        attempts.attempt(None, None)
        assert attempts.attempt(EVE, None)["state"] == "SUCCESS"
        assert attempts.transport.sent_to(BOB) == 1


# Anybody may be allowed, outside, or almost the one and the other; in any case and form.
LOCAL = st.sampled_from(["ada", "Ada", "ADA+x", "bob", "*", '"a b"', "d\u00f6rte", "\u212a", "k"])
DOMAIN = st.sampled_from(
    [
        *("example.com", "Example.COM.", "sub.example.com", "xexample.com", "b\u00fccher.example"),
        *("xn--bcher-kva.example", "com", "*.example.com", "[192.0.2.1]", "example.com.evil.org"),
    ]
)
EMAIL = st.builds("{}@{}".format, LOCAL, DOMAIN)
ENTRY = EMAIL | st.builds("Somebody <{}>".format, EMAIL) | st.builds("Team: {}, {};".format, EMAIL, EMAIL)
RECIPIENTS = st.lists(ENTRY, max_size=4)
UIDS = st.lists(st.sampled_from(["u1", "u2", "u3"]), max_size=2)
PATTERN = st.sampled_from(
    [
        *("ada@example.com", "bob@Example.com", "k@example.com", "*@example.com", "*@*.example.com"),
        *("*@b\u00fccher.example", "*@*.com", "ada@[192.0.2.1]"),
    ]
)
ALLOWED = st.none() | st.lists(PATTERN, min_size=1, max_size=3)
REDIRECT = st.none() | st.lists(
    st.sampled_from([INBOX, "qa@Staging.example", "ada@example.com"]), min_size=1, max_size=2
)
FORGED = st.lists(EMAIL, max_size=3)
HEADERS = st.dictionaries(st.sampled_from(["X-SMTPAPI", "X-MC-BccAddress", "Bcc", "To", "Resent-Bcc", HEADER]), EMAIL)


class _Users(dict[str, str]):
    def emails(self, uids: Sequence[str]) -> Mapping[str, str]:
        return {uid: self[uid] for uid in uids if uid in self}


def normalised(pattern: str) -> str:
    """The pattern as a plain specification of it: by hand, without the code under test."""
    local, _, domain = pattern.lower().rpartition("@")
    return local + "@" + domain.replace("b\u00fccher", "xn--bcher-kva")


def may_get_mail(recipient: str, allowed: list[str], redirect: list[str]) -> bool:
    local, _, domain = recipient.rpartition("@")
    lowered = "".join(letter.lower() if letter.isascii() else letter for letter in local)
    for pattern in map(normalised, [*allowed, *redirect]):
        who, _, where = pattern.rpartition("@")
        is_there = domain.endswith(where[1:]) and len(domain) >= len(where) if where[0] == "*" else domain == where
        if is_there and who in ("*", lowered):
            return True
    return False


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents with recipients in every place, also such as only a forger writes."""
    fields: dict[str, Any] = {name: draw(RECIPIENTS) for name in ("to", "cc", "bcc")}
    fields |= {name: draw(UIDS) for name in ("toUids", "ccUids", "bccUids")}
    fields["headers"] = draw(HEADERS)
    fields["transport"] = draw(st.sampled_from([None, "default", "bulk"]))
    fields["message"] = {**MESSAGE, "dsn": {"recipient": draw(EMAIL), "notify": "failure"}}
    if draw(st.booleans()):
        fields["template"] = {"name": "welcome", "data": {"to": draw(EMAIL)}}
    if draw(st.booleans()):
        fields["sendGrid"] = {"mailSettings": {"bcc": {"enable": True, "email": draw(EMAIL)}}}
    if draw(st.booleans()):
        lists = {name: draw(FORGED) for name in ("accepted", "rejected", "pending", "withheld")}
        info = {**lists, "response": None, "messageId": "<x@y>"}
        fields["delivery"] = {"state": "RETRY", "resumes": True, "attempts": 1, "info": info}
    return fields


@given(documents(), ALLOWED, REDIRECT, st.lists(EMAIL, min_size=3, max_size=3), st.sets(EMAIL, max_size=4))
def test_no_envelope_and_no_request_ever_holds_anybody_else(
    document: dict[str, Any], allowed: list[str] | None, redirect: list[str] | None, users: list[str], put_off: set[str]
) -> None:
    if allowed is None and redirect is None:
        redirect = [INBOX]
    attempts = Attempts(**document)
    attempts.transport.defer = put_off
    template = {"subject": "{{to}}", "text": "x", "to": EVE, "bcc": [EVE]}
    compose = replace(
        COMPOSER,
        encode=routed_encoder(
            Routes.of({"bulk": frozenset()}), {"default": encode_mime, "bulk": encode_sendgrid_request}
        ),
        users=_Users(zip(("u1", "u2", "u3"), users, strict=True)),
        templates=FirestoreTemplates(TemplateDatabase({"welcome": template}), "templates"),
    )
    for _ in range(2):
        attempts.attempt(
            None if allowed is None else ",".join(allowed), None if redirect is None else ",".join(redirect), compose
        )
    for envelope, data in attempts.transport.sent:
        named = list(envelope.recipients)
        assert named
        if envelope.transport == "bulk":
            request = json.loads(data)
            people = [each for one in request["personalizations"] for kind in one.values() for each in kind]
            named += [each["email"] for each in people]
            assert "bcc" not in request.get("mail_settings", {})
        else:
            message = email.message_from_bytes(data, policy=email.policy.compat32)
            listed = email.utils.getaddresses([*message.get_all("To", []), *message.get_all("Cc", [])])
            named += [each for _, each in listed if "@" in each]
        assert [one for one in named if not may_get_mail(one, allowed or [], redirect or [])] == []
        assert envelope.dsn is None or envelope.dsn.recipient is None
