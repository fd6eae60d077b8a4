"""Access tokens for mailboxes that take no password (OAuth 2.0, RFC 6749), and how they are shown to a mail server.

SASL XOAUTH2 is Google's invention and Microsoft's, too:
https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlencode

from sender.net.http import Answer, HttpsEndpoint, NoResponse, RequestNotSent, why
from shared.deadline import Deadline
from shared.errors import ErrorCode, NotSent

GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105

#: With client credentials, Microsoft wants all that the app was granted for Exchange Online.
MICROSOFT_SCOPE = "https://outlook.office365.com/.default"

#: A token is renewed so many seconds before it expires.
_EARLY_SECONDS = 60.0
#: A token whose lifetime is not given (RFC 6749 only recommends that) is taken to last so long.
_ASSUMED_SECONDS = 300.0

_FETCH_SECONDS = 10.0
_PASSING_ERRORS = ("temporarily_unavailable", "server_error", "slow_down")
_ADVICE = {
    "invalid_grant": "REFRESH_TOKEN has expired or was revoked (a new password does that, too): issue a new one. "
    "While Google's OAuth consent screen is in status Testing, it expires after 7 days: publish the app.",
    "invalid_client": "Check CLIENT_ID and CLIENT_SECRET; a secret may have expired.",
    "unauthorized_client": "Check CLIENT_ID and OAUTH_GRANT; the client may not use this grant.",
    "invalid_scope": "Check in the provider's console that the client may send mail by SMTP.",
}


class Grant(StrEnum):
    """What a token is asked for with: a user's consent given once, or the application's own right."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105
    CLIENT_CREDENTIALS = "client_credentials"


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Our account with the provider of tokens."""

    endpoint: HttpsEndpoint
    client_id: str
    client_secret: str = field(repr=False)
    grant: Grant = Grant.REFRESH_TOKEN
    refresh_token: str | None = field(default=None, repr=False)

    def form(self) -> dict[str, str]:
        """The request for a token (RFC 6749 sections 4.4.2 and 6)."""
        form = {"client_id": self.client_id, "client_secret": self.client_secret, "grant_type": self.grant.value}
        if self.grant is Grant.CLIENT_CREDENTIALS:
            return form | {"scope": MICROSOFT_SCOPE}
        return form | {"refresh_token": self.refresh_token or ""}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, and for how many seconds it may be used from when it was asked for."""

    secret: str = field(repr=False)
    seconds: float


class AccessTokens:
    """The client's current token, fetched when there is none, and by one thread at a time. Safe to share."""

    def __init__(self, client: OAuthClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._good_until = 0.0

    def get(self, deadline: Deadline, refused: str | None = None) -> str:
        """A token that is good for now and is not the one that a server has `refused`.

        Raises `NotSent`: `auth` when the provider won't give one, `connection` or `temporary` when it may later.
        """
        if not self._lock.acquire(timeout=max(0.0, deadline.remaining())):
            raise NotSent(ErrorCode.TEMPORARY, f"No access token came from {self._client.endpoint} in time.")
        try:
            token = self._token
            if token is None or token.secret == refused or deadline.clock() >= self._good_until:
                asked_at = deadline.clock()
                token = self._token = fetch(self._client, deadline)
                self._good_until = asked_at + token.seconds
            return token.secret
        finally:
            self._lock.release()


def fetch(client: OAuthClient, deadline: Deadline) -> Token:
    """Ask for a token. If the process dies here, another one is asked for later: that does no harm."""
    until = deadline.within(_FETCH_SECONDS)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    body = urlencode(client.form()).encode()
    try:
        answer = client.endpoint.ask("POST", "", headers, body, start_by=until, end_by=until)
    except (RequestNotSent, NoResponse) as error:
        text = f"No access token could be had from {client.endpoint}: {why(error)}."
        raise NotSent(ErrorCode.CONNECTION, text) from error
    return read_token(answer, str(client.endpoint))


def read_token(answer: Answer, server: str) -> Token:
    """The token in the provider's answer (RFC 6749 section 5); raises `NotSent` where there is none."""
    said = _object(answer.body)
    secret, lifetime = said.get("access_token"), said.get("expires_in")
    if answer.status == 200 and isinstance(secret, str) and secret.isascii() and secret.isprintable():
        return Token(secret, _usable_seconds(lifetime))
    word = _word(said.get("error"))
    if answer.status >= 500 or answer.status == 429 or word in _PASSING_ERRORS:
        raise NotSent(ErrorCode.TEMPORARY, f"{server} has no access token for now (HTTP {answer.status}).")
    if not 400 <= answer.status < 500:
        text = f"{server} gave no access token (HTTP {answer.status}): check OAUTH_TOKEN_URL."
        raise NotSent(ErrorCode.AUTH, text)
    # Microsoft's numbers can be looked up; the sentences around them may name users.
    number = re.search(r"AADSTS\d+", str(said.get("error_description")))
    reason = " ".join(filter(None, [word or f"HTTP {answer.status}", number and number[0]]))
    advice = _ADVICE.get(word, "Check OAUTH_TOKEN_URL, CLIENT_ID, CLIENT_SECRET and REFRESH_TOKEN.")
    raise NotSent(ErrorCode.AUTH, f"{server} refused an access token: {reason}.\n{advice}")


def _usable_seconds(lifetime: object) -> float:
    seconds = float(lifetime) if isinstance(lifetime, int | float) and lifetime > 0 else _ASSUMED_SECONDS
    return max(seconds - _EARLY_SECONDS, seconds / 2)


def _object(body: bytes) -> Mapping[str, object]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _word(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[a-z_]{1,40}", value) else ""
