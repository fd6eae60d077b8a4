"""Who calls: Google signs a token for each push and each event, and nobody else may.

https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions#validate_tokens
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from google.auth import exceptions as auth_errors
from google.auth import jwt, transport
from google.auth.transport.requests import Request
from google.oauth2 import id_token

from shared.errors import FirepostError, Unavailable

_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})

#: Google lets certificates be kept for hours; asking sooner finds a key that was taken into use early.
_LONGEST_KEEP_SECONDS = 600.0

_FETCH_SECONDS = 5.0

#: What Cloud Run may put in a token's last part once it has checked it, so that the token is of use nowhere else
#: (https://cloud.google.com/run/docs/troubleshooting#signature-removed).
_NO_SIGNATURE = ".SIGNATURE_REMOVED_BY_GOOGLE"


class Unauthorized(FirepostError):
    """The caller has shown no token, or none that lets it in."""


class CachedCertificates(transport.Request):
    """Fetches certificates as google-auth asks for them, but only when the ones at hand have come of age.

    google-auth itself keeps nothing: it would fetch them for every single token.
    While a renewal fails, the old ones go on being used: Google rotates keys days before it signs with them.
    """

    def __init__(self, fetch: transport.Request, clock: Any = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._responses: dict[str, tuple[float, transport.Response]] = {}

    def __call__(
        self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **kwargs: Any
    ) -> Any:
        """The response to `url`, fresh or remembered."""
        with self._lock:
            until, remembered = self._responses.get(url, (0.0, None))
            if remembered is not None and self._clock() < until:
                return remembered
            try:
                response = self._fetch(url, method, body, headers, timeout or _FETCH_SECONDS, **kwargs)
            except auth_errors.TransportError:
                if remembered is None:
                    raise
                return remembered
            if response.status == requests.codes.ok:
                self._responses[url] = (self._clock() + _keep_seconds(response.headers), response)
            return response


def _keep_seconds(headers: Mapping[str, str]) -> float:
    found = re.search(r"max-age=(\d+)", headers.get("cache-control", headers.get("Cache-Control", "")))
    return min(float(found.group(1)), _LONGEST_KEEP_SECONDS) if found else 0.0


@dataclass(frozen=True, slots=True)
class TokenVerifier:
    """Accepts the tokens that Google signed for one audience and one of our service accounts.

    A `*` in the audience stands for any part of a host name: an address of Cloud Run has a part that is made up when
    the service is created, and so can't be among the settings that it is created with. `behind_cloud_run` is for a
    service that nobody reaches without Cloud Run's own check: then a token whose signature it took away is believed.
    """

    audience: str
    service_accounts: frozenset[str]
    certificates_url: str
    request: transport.Request
    behind_cloud_run: bool = False

    @classmethod
    def over_http(
        cls, audience: str, service_accounts: frozenset[str], certificates_url: str, *, behind_cloud_run: bool = False
    ) -> TokenVerifier:
        """A verifier that fetches the signers' certificates when they are first needed."""
        return cls(audience, service_accounts, certificates_url, CachedCertificates(Request()), behind_cloud_run)

    def verify(self, authorization: str | None) -> None:
        """Check an `Authorization` header; raises `Unauthorized` with a text for the log."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("The request bears no token.")
        try:
            claims = self._claims(token)
        except auth_errors.TransportError as error:
            raise Unavailable("The certificates to check tokens with can't be fetched.") from error
        except (ValueError, auth_errors.GoogleAuthError) as error:
            raise Unauthorized(f"The token is not valid here: {type(error).__name__}.") from error
        if claims.get("iss") not in _ISSUERS:
            raise Unauthorized("The token is not Google's.")
        if not _matches(self.audience, claims.get("aud")):
            raise Unauthorized("The token is for another audience.")
        if not claims.get("email_verified") or claims.get("email") not in self.service_accounts:
            raise Unauthorized("The token is for another service account.")

    def _claims(self, token: str) -> Mapping[str, Any]:
        if self.behind_cloud_run and token.endswith(_NO_SIGNATURE):
            unsigned: Mapping[str, Any] = jwt.decode(token, verify=False)
            return unsigned
        signed: Mapping[str, Any] = id_token.verify_token(token, self.request, certs_url=self.certificates_url)
        return signed


def _matches(pattern: str, audience: object) -> bool:
    gap = "[A-Za-z0-9.-]+"
    return isinstance(audience, str) and bool(re.fullmatch(gap.join(map(re.escape, pattern.split("*"))), audience))
