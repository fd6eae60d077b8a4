"""Access tokens (OAuth 2.0, RFC 6749) for mailboxes that accept no password.

Google and Microsoft define how a token is sent to a mail server (SASL XOAUTH2):
https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlencode

from sender.net.http import Answer, HttpsEndpoint, NoResponse, RequestNotSent, why
from shared.deadline import Deadline
from shared.errors import ErrorCode, NotSent

GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105

#: For client credentials, Microsoft requires this scope: everything that the app was granted for Exchange Online.
MICROSOFT_SCOPE = "https://outlook.office365.com/.default"

#: A token is replaced this many seconds before it expires.
_EARLY_SECONDS = 60.0
#: The lifetime of a token if the provider does not state it (RFC 6749 only recommends to).
_ASSUMED_SECONDS = 300.0

#: The longest plausible lifetime: a year.
_LONGEST_SECONDS = 366 * 86400.0

_FETCH_SECONDS = 10.0
_TRANSIENT_ERRORS = ("temporarily_unavailable", "server_error", "slow_down")
_ADVICE = {
    "invalid_grant": "REFRESH_TOKEN has expired or was revoked (a new password does that, too): issue a new one. "
    "While Google's OAuth consent screen is in status Testing, it expires after 7 days: publish the app.",
    "invalid_client": "Check CLIENT_ID and CLIENT_SECRET; a secret may have expired.",
    "unauthorized_client": "Check CLIENT_ID and OAUTH_GRANT; the client may not use this grant.",
    "invalid_scope": "Check in the provider's console that the client may send mail by SMTP.",
}


class Grant(StrEnum):
    """OAuth's grant types: with a user's consent (refresh token) or the application's own rights."""

    REFRESH_TOKEN = "refresh_token"  # noqa: S105
    CLIENT_CREDENTIALS = "client_credentials"


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """The token endpoint and our credentials for it."""

    endpoint: HttpsEndpoint
    client_id: str
    client_secret: str = field(repr=False)
    grant: Grant = Grant.REFRESH_TOKEN
    refresh_token: str | None = field(default=None, repr=False)

    def form(self) -> dict[str, str]:
        """The form fields of a token request (RFC 6749 sections 4.4.2 and 6)."""
        form = {"client_id": self.client_id, "client_secret": self.client_secret, "grant_type": self.grant.value}
        if self.grant is Grant.CLIENT_CREDENTIALS:
            return form | {"scope": MICROSOFT_SCOPE}
        return form | {"refresh_token": self.refresh_token or ""}


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; it may be used for `seconds` from the time of the request."""

    secret: str = field(repr=False)
    seconds: float


class AccessTokens:
    """Caches the client's access token; one thread at a time fetches a new one. Thread-safe."""

    def __init__(self, client: OAuthClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._valid_until = 0.0

    @property
    def server(self) -> str:
        """The token endpoint's host, for messages."""
        return str(self._client.endpoint)

    def get(self, deadline: Deadline, refused: str | None = None) -> str:
        """A valid token, other than the one that a server has `refused`.

        Raises `NotSent` with code `auth` if the provider refuses a token, `connection` or `temporary` if a later
        request may succeed.
        """
        if not self._lock.acquire(timeout=max(0.0, deadline.remaining())):
            raise NotSent(ErrorCode.TEMPORARY, f"Could not get an access token from {self._client.endpoint} in time.")
        try:
            token = self._token
            if token is None or token.secret == refused or deadline.clock() >= self._valid_until:
                requested_at = deadline.clock()
                token = self._token = fetch(self._client, deadline)
                self._valid_until = requested_at + token.seconds
            return token.secret
        finally:
            self._lock.release()


def fetch(client: OAuthClient, deadline: Deadline) -> Token:
    """Request a token. If the process dies here, the token is lost and another one is requested later.

    Raises `NotSent`, as `AccessTokens.get` does.
    """
    until = deadline.within(_FETCH_SECONDS)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    body = urlencode(client.form()).encode()
    try:
        answer = client.endpoint.ask("POST", "", headers, body, start_by=until, end_by=until)
    except (RequestNotSent, NoResponse) as error:
        text = f"Could not get an access token from {client.endpoint}: {why(error)}."
        raise NotSent(ErrorCode.CONNECTION, text) from error
    return read_token(answer, str(client.endpoint))


def read_token(answer: Answer, server: str) -> Token:
    """The token in the provider's answer (RFC 6749 section 5); raises `NotSent` if there is none."""
    content = answer.object()
    secret, lifetime = content.get("access_token"), content.get("expires_in")
    if answer.status == 200 and isinstance(secret, str) and secret.isascii() and secret.isprintable():
        return Token(secret, _usable_seconds(lifetime))
    word = _word(content.get("error"))
    if answer.status >= 500 or answer.status == 429 or word in _TRANSIENT_ERRORS:
        raise NotSent(ErrorCode.TEMPORARY, f"{server} can't issue an access token for now (HTTP {answer.status}).")
    if not 400 <= answer.status < 500:
        text = f"{server} issued no access token (HTTP {answer.status}): check OAUTH_TOKEN_URL."
        raise NotSent(ErrorCode.AUTH, text)
    # Microsoft's error numbers can be looked up; the text around them may contain user names.
    number = re.search(r"AADSTS\d+", str(content.get("error_description")))
    reason = " ".join(filter(None, [word or f"HTTP {answer.status}", number and number[0]]))
    advice = _ADVICE.get(word, "Check OAUTH_TOKEN_URL, CLIENT_ID, CLIENT_SECRET and REFRESH_TOKEN.")
    raise NotSent(ErrorCode.AUTH, f"{server} refused an access token: {reason}.\n{advice}")


def _usable_seconds(lifetime: object) -> float:
    seconds = _ASSUMED_SECONDS
    if isinstance(lifetime, int | float) and 0 < lifetime <= _LONGEST_SECONDS:
        seconds = float(lifetime)
    return max(seconds - _EARLY_SECONDS, seconds / 2)


def _word(value: object) -> str:
    return value if isinstance(value, str) and re.fullmatch(r"[a-z_]{1,40}", value) else ""
