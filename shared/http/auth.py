"""Who calls: Google signs a token for each push and each event, and nobody else may.

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

#: Google lets certificates be kept for hours; asking sooner finds a key that was taken into use early.
_LONGEST_KEEP_SECONDS = 600.0
#: They are not asked for more often, whatever the answer was.
_SHORTEST_KEEP_SECONDS = 30.0

_FETCH_SECONDS = 5.0

#: What Cloud Run may put in a token's last part once it has checked it, so that the token is of use nowhere else
#: (https://cloud.google.com/run/docs/troubleshooting#signature-removed).
_NO_SIGNATURE = ".SIGNATURE_REMOVED_BY_GOOGLE"


class Unauthorized(FirepostError):
    """The caller has shown no token, or none that lets it in."""


class Certificates:
    """The signers' certificates at one URL, fetched when they are needed and have come of age.

    While a renewal lasts or fails, the old ones go on being used: Google rotates keys days before it signs with them.
    """

    def __init__(self, url: str, request: transport.Request, clock: Callable[[], float] = time.monotonic) -> None:
        """`url` answers `{key id: PEM}`; `clock` counts seconds."""
        self._url = url
        self._request = request
        self._clock = clock
        self._fetching = threading.Lock()
        self._state: tuple[float, Mapping[str, str] | None] = (-math.inf, None)

    def current(self) -> Mapping[str, str]:
        """PEM by key id. Raises `Unavailable` as long as none could be fetched."""
        until, known = self._state
        # One thread fetches; the others have the old ones, or else nothing to do but wait for it.
        if self._clock() >= until and self._fetching.acquire(blocking=known is None):
            try:
                if self._clock() >= self._state[0]:
                    self._renew()
            finally:
                self._fetching.release()
        _, known = self._state
        if known is None:
            raise Unavailable("The certificates to check tokens with can't be fetched.")
        return known

    def _renew(self) -> None:
        _, known = self._state
        keep = _SHORTEST_KEEP_SECONDS
        try:
            response = self._request(self._url, method="GET", timeout=_FETCH_SECONDS)
            known = _parsed(response)
            keep = _keep_seconds(response.headers)
        except Exception as error:  # whatever somebody else's answer may lead to
            _log.warning("certificates not renewed: %s", type(error).__name__)
        self._state = (self._clock() + keep, known)


def _parsed(response: transport.Response) -> Mapping[str, str]:
    """The certificates in the answer. Raises `ValueError` and others unless that is what it is."""
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
    """Accepts the tokens that Google signed for one audience and one of our service accounts.

    A `*` in the audience stands for any part of a host name: an address of Cloud Run has a part that is made up when
    the service is created, and so can't be among the settings that it is created with. `behind_cloud_run` is for a
    service that nobody reaches without Cloud Run's own check: then a token whose signature it took away is believed.
    """

    audience: str
    service_accounts: frozenset[str]
    certificates: Certificates
    behind_cloud_run: bool = False

    @classmethod
    def over_http(
        cls, audience: str, service_accounts: frozenset[str], certificates_url: str, *, behind_cloud_run: bool = False
    ) -> TokenVerifier:
        """A verifier that fetches the signers' certificates when they are first needed."""
        return cls(audience, service_accounts, Certificates(certificates_url, Request()), behind_cloud_run)

    def verify(self, authorization: str | None) -> None:
        """Check an `Authorization` header; raises `Unauthorized` with a text for the log."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("The request bears no token.")
        try:
            self._check(self._claims(token))
        except (Unauthorized, Unavailable):
            raise
        except Exception as error:  # a stranger's token may hold anything
            raise Unauthorized(f"The token is not valid here: {type(error).__name__}.") from error

    def _claims(self, token: str) -> Mapping[str, Any]:
        if self.behind_cloud_run and token.endswith(_NO_SIGNATURE):
            unsigned: Mapping[str, Any] = jwt.decode(token, verify=False)
            return unsigned
        signed: Mapping[str, Any] = jwt.decode(token, certs=self.certificates.current())
        return signed

    def _check(self, claims: Mapping[str, Any]) -> None:
        if claims.get("iss") not in _ISSUERS:
            raise Unauthorized("The token is not Google's.")
        if not _matches(self.audience, claims.get("aud")):
            raise Unauthorized("The token is for another audience.")
        if claims.get("email_verified") is not True or claims.get("email") not in self.service_accounts:
            raise Unauthorized("The token is for another service account.")


def _matches(pattern: str, audience: object) -> bool:
    gap = "[A-Za-z0-9.-]+"
    return isinstance(audience, str) and bool(re.fullmatch(gap.join(map(re.escape, pattern.split("*"))), audience))
