from __future__ import annotations

import pytest

from local.options import StackOptions, parse_address, parse_setting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("LEASE_SECONDS=10", ("LEASE_SECONDS", "10"), id="plain"),
        pytest.param("TLS_OPTIONS=a=b", ("TLS_OPTIONS", "a=b"), id="the value may hold an equals sign"),
        pytest.param("DEFAULT_REPLY_TO=", ("DEFAULT_REPLY_TO", ""), id="empty value"),
    ],
)
def test_a_setting_is_split_at_the_first_equals_sign(text: str, expected: tuple[str, str]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("LEASE_SECONDS", "is not NAME=VALUE", id="no value"),
        pytest.param("=10", "is not NAME=VALUE", id="no name"),
        pytest.param("lease_seconds=10", "is not NAME=VALUE", id="lower case"),
        pytest.param("LEASE SECONDS=10", "is not NAME=VALUE", id="a space in the name"),
        pytest.param("PORT=1", "PORT can't be set", id="the stack chooses ports"),
        pytest.param("GOOGLE_CLOUD_PROJECT=x", "use --project", id="there is an option for it"),
    ],
)
def test_invalid_settings_are_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_setting(text)


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080"])
def test_an_address_is_a_host_and_a_port(text: str) -> None:
    assert parse_address(text) == text


@pytest.mark.parametrize("text", ["", "8080", ":8080", "localhost", "localhost:", "x:http", "http://x:80", "x:0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize(
    ("backend", "verify_tokens", "expected"),
    [
        pytest.param("embedded", None, True, id="by default"),
        pytest.param("google", None, False, id="its Pub/Sub signs none"),
        pytest.param("embedded", False, False, id="switched off"),
        pytest.param("google", True, True, id="asked for, which the backend refuses"),
    ],
)
def test_tokens_are_verified_wherever_they_are_signed(backend: str, verify_tokens: bool | None, expected: bool) -> None:
    assert StackOptions(backend, verify_tokens=verify_tokens).has_tokens is expected


@pytest.mark.parametrize("text", ["hunter2", "smtp_password=hunter2", "PORT=hunter2"])
def test_an_error_does_not_repeat_the_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME=VALUE|can't be set") as refused:
        parse_setting(text)
    assert "hunter2" not in str(refused.value)


def test_a_setting_of_the_user_wins_over_the_default() -> None:
    options = StackOptions(settings={"MAIL_TOPIC": "post"})
    assert (options.setting("MAIL_TOPIC"), options.setting("MAIL_COLLECTION")) == ("post", "mail")
