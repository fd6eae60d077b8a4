from __future__ import annotations

from typing import Any

import pytest

from sender.document.dsn import Dsn, read_dsn
from sender.document.fields import Fields
from shared.errors import NotSendable


def parsed(dsn: Any) -> Dsn | None:
    fields = Fields({"dsn": dsn}, "message")
    result = read_dsn(fields)
    fields.raise_faults()
    return result


@pytest.mark.parametrize(
    ("dsn", "mail", "rcpt"),
    [
        pytest.param(
            {"id": "order-17", "return": "headers", "notify": ["failure", "delay"], "recipient": "ana@example.com"},
            ["RET=HDRS", "ENVID=order-17"],
            ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;ana@example.com"],
            id="as nodemailer documents it",
        ),
        pytest.param(
            {"envid": "1", "ret": "BODY", "notify": "success, failure", "orcpt": "x400;/a"},
            ["RET=FULL", "ENVID=1"],
            ["NOTIFY=SUCCESS,FAILURE", "ORCPT=x400;/a"],
            id="aliases",
        ),
        pytest.param({"notify": "never"}, [], ["NOTIFY=NEVER"], id="never"),
        pytest.param({"notify": ["delay", "DELAY"]}, [], ["NOTIFY=DELAY"], id="duplicate"),
        pytest.param({"return": "full"}, ["RET=FULL"], [], id="full mail"),
        pytest.param({"id": "a b+c=d"}, ["ENVID=a+20b+2Bc+3Dd"], [], id="xtext"),
        pytest.param({"id": "x NOTIFY=NEVER"}, ["ENVID=x+20NOTIFY+3DNEVER"], [], id="no injection of a parameter"),
        pytest.param({"id": None, "notify": []}, [], [], id="nothing"),
    ],
)
def test_dsn_options_become_the_parameters_of_rfc_3461(dsn: Any, mail: list[str], rcpt: list[str]) -> None:
    wishes = parsed(dsn)
    assert wishes is not None
    assert (list(wishes.mail_parameters()), list(wishes.rcpt_parameters())) == (mail, rcpt)


def test_no_dsn_options_no_parameters() -> None:
    assert parsed(None) is None


@pytest.mark.parametrize(
    ("dsn", "error"),
    [
        pytest.param("all", "'message.dsn': expected a map, found a string", id="not a map"),
        pytest.param({"return": "some"}, "'message.dsn.return': expected 'headers' or 'full'", id="return"),
        pytest.param({"notify": "always"}, "'message.dsn.notify': expected 'never', or some of", id="notify"),
        pytest.param(
            {"notify": ["never", "delay"]}, "'message.dsn.notify': expected 'never', or", id="never with others"
        ),
        pytest.param({"notify": 5}, "'message.dsn.notify': expected a string or an array", id="a number"),
        pytest.param({"id": "ü"}, "'message.dsn.id': expected printable ASCII", id="not ASCII"),
        pytest.param({"id": "a\r\nRSET"}, "'message.dsn.id': expected a single line", id="a line break"),
        pytest.param({"id": "+" * 34}, "'message.dsn.id': expected at most 100 characters", id="too long when encoded"),
        pytest.param({"orcpt": "x" * 494}, "'message.dsn.orcpt': expected at most 493 char", id="address too long"),
    ],
)
def test_invalid_dsn_options_are_rejected(dsn: Any, error: str) -> None:
    with pytest.raises(NotSendable) as caught:
        parsed(dsn)
    assert error in str(caught.value)
