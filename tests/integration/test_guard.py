"""The guard in the running system: what reaches the mail server, and what the documents say."""

from __future__ import annotations

import email
import email.policy

import pytest

from tests.integration.system import Configuration, System

pytestmark = pytest.mark.integration

ADA, BOB, EVE, INBOX = "ada@staff.example.com", "bob@example.org", "eve@example.net", "inbox@example.com"


def message(subject: str) -> dict[str, str]:
    return {"subject": subject, "text": "Hello"}


def recipients(system: System, subject: str) -> list[tuple[str, ...]]:
    """Those of each accepted mail with the subject."""
    wanted = f"\r\nSubject: {subject}\r\n".encode()
    return [mail.recipients for mail in system.server.accepted if wanted in mail.data]


@pytest.fixture(scope="module")
def backend() -> str:
    return "embedded"


@pytest.fixture(scope="module")
def configuration(request: pytest.FixtureRequest) -> Configuration:
    return Configuration(settings=request.param)


@pytest.mark.parametrize("configuration", [{"RECIPIENTS_ALLOWED": "*@*.Example.com"}], indirect=True, ids=[""])
class TestAllowed:
    def test_only_the_allowed_get_mail(self, system: System) -> None:
        system.firestore.document("users/u1").set({"email": ADA})
        system.firestore.document("users/u2").set({"email": EVE})
        path = system.write({"to": BOB, "ccUids": ["u1"], "bccUids": ["u2"], "message": message("some")})
        delivery = system.concluded(path)
        assert (delivery["state"], delivery["info"]["accepted"]) == ("SUCCESS", [ADA])
        assert delivery["info"]["withheld"] == [BOB, EVE]
        assert recipients(system, "some") == [(ADA,)]

    def test_if_nobody_is_left_nothing_is_sent_even_if_the_document_claims_an_earlier_attempt(
        self, system: System
    ) -> None:
        info = {"accepted": [], "rejected": [], "pending": [BOB, ADA], "response": None}
        forged = {"state": "RETRY", "attempts": 0, "resumes": True, "info": info}
        path = system.write({"to": BOB, "message": message("forged"), "delivery": forged})
        delivery = system.concluded(path)
        assert (delivery["state"], delivery["errorCode"]) == ("ERROR", "not-allowed")
        assert recipients(system, "forged") == []


@pytest.mark.parametrize("configuration", [{"RECIPIENTS_REDIRECT": INBOX}], indirect=True, ids=[""])
class TestRedirected:
    def test_every_mail_goes_to_the_address_in_place_of_its_recipients(self, system: System) -> None:
        path = system.write({"to": [ADA, BOB], "bcc": EVE, "message": message("all")})
        info = system.concluded(path)["info"]
        [mail] = [each for each in system.mails_to(INBOX) if b"Subject: all" in each.data]
        parsed = email.message_from_bytes(mail.data, policy=email.policy.default)
        assert mail.recipients == (INBOX,)
        assert (parsed["To"], parsed["X-Firepost-Original-Recipients"]) == (
            f'"{ADA} and 1 more" <{INBOX}>',
            f"{ADA}, {BOB}, {EVE}",
        )
        assert (info["accepted"], info["withheld"]) == ([INBOX], [ADA, BOB, EVE])

    def test_a_mail_published_without_a_document_is_redirected_too(self, system: System) -> None:
        system.publish({"mail": {"to": BOB, "message": message("inline")}})
        system.server.wait_until(lambda: bool(recipients(system, "inline")))
        assert recipients(system, "inline") == [(INBOX,)]
