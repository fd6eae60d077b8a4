"""Authenticates callers by the OIDC tokens that Google adds to pushes and events.

https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions#validate_tokens
"""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from google.auth import crypt, jwt, transport
from google.auth.transport.requests import Request

from shared.errors import FirepostError, Unavailable

_log = logging.getLogger("firepost.auth")

_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})

#: The longest time for which certificates are cached. Google allows hours; a shorter time finds new keys early.
_LONGEST_KEEP_SECONDS = 600.0
#: The shortest time between two requests for certificates, even after failures.
_SHORTEST_KEEP_SECONDS = 30.0

_FETCH_SECONDS = 5.0

#: Cloud Run may replace the signature of a token that it has verified, so that the token can't be reused
#: (https://cloud.google.com/run/docs/troubleshooting#signature-removed).
_NO_SIGNATURE = ".SIGNATURE_REMOVED_BY_GOOGLE"


class Unauthorized(FirepostError):
    """The request has no valid token."""


class Certificates:
    """A cache of Google's signing certificates at one URL, renewed on demand; thread-safe.

    The old certificates stay valid during a renewal and after a failed one: Google publishes keys days before it uses
    them.
    """

    def __init__(self, url: str, request: transport.Request, clock: Callable[[], float] = time.monotonic) -> None:
        """`url` returns JSON of the form `{key id: PEM}`; `clock` is monotonic, in seconds."""
        self._url = url
        self._request = request
        self._clock = clock
        self._fetching = threading.Lock()
        self._state: tuple[float, Mapping[str, str] | None] = (-math.inf, None)

    def current(self) -> Mapping[str, str]:
        """The PEM certificates by key id. Raises `Unavailable` until they have been fetched once."""
        until, known = self._state
        # One thread fetches; the others use the old certificates, or wait if there are none.
        if self._clock() >= until and self._fetching.acquire(blocking=known is None):
            try:
                if self._clock() >= self._state[0]:
                    self._renew()
            finally:
                self._fetching.release()
        _, known = self._state
        if known is None:
            raise Unavailable("The certificates for verifying tokens can't be fetched.")
        return known

    def _renew(self) -> None:
        _, known = self._state
        keep = _SHORTEST_KEEP_SECONDS
        try:
            response = self._request(self._url, method="GET", timeout=_FETCH_SECONDS)
            known = _parsed(response)
            keep = _keep_seconds(response.headers)
        except Exception as error:  # the response may contain anything
            _log.warning("certificates not renewed: %s", type(error).__name__)
        self._state = (self._clock() + keep, known)


def _parsed(response: transport.Response) -> Mapping[str, str]:
    """The certificates in the response. Raises `ValueError`, among others, if it is invalid."""
    if response.status != HTTPStatus.OK:
        raise ValueError(f"answered {response.status}")
    found = json.loads(response.data)
    if not isinstance(found, dict) or not found:
        raise ValueError("no certificates")
    for pem in found.values():
        crypt.RSAVerifier.from_string(pem)
    return found


def _keep_seconds(headers: Mapping[str, str]) -> float:
    found = re.search(r"max-age=(\d+)", headers.get("cache-control", headers.get("Cache-Control", "")))
    return min(max(float(found[1]) if found else 0.0, _SHORTEST_KEEP_SECONDS), _LONGEST_KEEP_SECONDS)


@dataclass(frozen=True, slots=True)
class TokenVerifier:
    """Accepts tokens that Google signed for one audience and one of our service accounts.

    A `*` in the audience matches any part of a host name: Cloud Run generates part of a service's address when it
    creates the service, too late for its settings. With `behind_cloud_run`, tokens whose signature Cloud Run has
    removed are accepted; set it only if every request passes Cloud Run's own check.
    """

    audience: str
    service_accounts: frozenset[str]
    certificates: Certificates
    behind_cloud_run: bool = False

    @classmethod
    def over_http(
        cls, audience: str, service_accounts: frozenset[str], certificates_url: str, *, behind_cloud_run: bool = False
    ) -> TokenVerifier:
        """A verifier that fetches the certificates on first use."""
        return cls(audience, service_accounts, Certificates(certificates_url, Request()), behind_cloud_run)

    def verify(self, authorization: str | None) -> None:
        """Verify an `Authorization` header. Raises `Unauthorized`, or `Unavailable` if the certificates are missing."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("The request has no token.")
        try:
            self._check(self._claims(token))
        except (Unauthorized, Unavailable):
            raise
        except Exception as error:  # an untrusted token may contain anything
            raise Unauthorized(f"The token is not valid: {type(error).__name__}.") from error

    def _claims(self, token: str) -> Mapping[str, Any]:
        if self.behind_cloud_run and token.endswith(_NO_SIGNATURE):
            unsigned: Mapping[str, Any] = jwt.decode(token, verify=False)
            return unsigned
        try:
            certificates = self.certificates.current()
        except Unavailable:
            self._check(jwt.decode(token, verify=False))  # a token that is wrong anyway is not worth another call
            raise
        signed: Mapping[str, Any] = jwt.decode(token, certs=certificates)
        return signed

    def _check(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") not in _ISSUERS:
            raise Unauthorized("The token was not issued by Google.")
        if not _matches(self.audience, claims.get("aud")):
            raise Unauthorized("The token is for another audience.")
        if claims.get("email_verified") is not True or claims.get("email") not in self.service_accounts:
            raise Unauthorized("The token is for another service account.")


def _matches(pattern: str, audience: object) -> bool:
    gap = "[A-Za-z0-9.-]+"
    return isinstance(audience, str) and bool(re.fullmatch(gap.join(map(re.escape, pattern.split("*"))), audience))
