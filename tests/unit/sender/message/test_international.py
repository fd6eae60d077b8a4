"""Names and addresses in other scripts, from the document to the wire."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from typing import Any

import pytest

from sender.document.addresses import Address
from sender.message.compose import Composer, Defaults
from sender.transport.smtp.config import parse_server
from sender.transport.smtp.transport import SmtpTransport
from tests.smtp_server import Mail, ScriptedServer
from tests.unit.sender.transport.builders import soon

DEFAULTS = Defaults(Address("Läden", "shop@xn--lden-loa.example"))


def sent(**fields: Any) -> Mail:
    """The commands and data that a server receives for a document."""
    document = {"message": {"subject": "Grüße", "text": "日本"}, **fields}
    mail = Composer(DEFAULTS)(document, seed="x", now=datetime(2026, 1, 2, tzinfo=UTC))
    with ScriptedServer() as smtp:
        transport = SmtpTransport(parse_server(smtp.uri(), None, None))
        transport.send(mail.envelope, mail.data, soon(30))
        transport.close()
        (arrived,) = smtp.accepted
    return arrived


@pytest.mark.parametrize(
    ("to", "recipient", "header"),
    [
        pytest.param("Ada <ada@x.example>", "ada@x.example", "Ada <ada@x.example>", id="ascii"),
        pytest.param("Jörg <j@x.example>", "j@x.example", "Jörg <j@x.example>", id="name in UTF-8"),
        pytest.param("j@Bücher.example", "j@xn--bcher-kva.example", "j@xn--bcher-kva.example", id="IDN"),
        pytest.param(
            "田中 <t@例え.テスト>", "t@xn--r8jz45g.xn--zckzah", "田中 <t@xn--r8jz45g.xn--zckzah>", id="IDN in kana"
        ),
    ],
)
def test_ascii_local_parts_need_no_smtputf8(to: str, recipient: str, header: str) -> None:
    mail = sent(to=to)
    assert (mail.sender, mail.recipients) == ("shop@xn--lden-loa.example", (recipient,))
    assert "SMTPUTF8" not in mail.options
    assert mail.data.isascii()
    message = email.message_from_bytes(mail.data, policy=email.policy.default)
    assert (message["To"], message["Subject"]) == (header, "Grüße")


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_smtputf8_is_requested_if_a_recipient_needs_it(field: str) -> None:
    mail = sent(**{field: "Jörg <jörg@Bücher.example>"})
    assert mail.recipients == ("jörg@xn--bcher-kva.example",)
    assert "SMTPUTF8" in mail.options


def test_smtputf8_is_requested_if_only_a_header_needs_it() -> None:
    mail = sent(to="a@x.example", replyTo="jörg@x.example")
    assert "SMTPUTF8" in mail.options
    assert "Reply-To: jörg@x.example\r\n".encode() in mail.data
