"""OIDC tokens like Google's, signed with our own key, and the certificates that verify them.

https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions describes the claims; the certificates have
the format of https://www.googleapis.com/oauth2/v1/certs, which `google.auth.jwt.decode` reads.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

ISSUER = "https://accounts.google.com"
LIFETIME_SECONDS = 3600
#: A token is replaced when it has less than this many seconds left.
RENEW_SECONDS = 600
#: How often the certificates' server checks whether to stop, in seconds.
STOP_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class _Identity:
    """The signer: the private key with its id, and its certificate (PEM)."""

    signer: crypt.RSASigner
    certificate: str

    def sign(self, payload: dict[str, object]) -> str:
        token: bytes = jwt.encode(self.signer, payload)
        return token.decode()


class TokenIssuer:
    """Signs tokens and serves the certificate. The key is generated on first use, because that is slow."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._identity: _Identity | None = None
        self._tokens: dict[tuple[str, str], tuple[str, float]] = {}
        self._server: ThreadingHTTPServer | None = None
        self._port = 0

    @property
    def certs_url(self) -> str:
        """The URL of the certificates; known once started."""
        return f"http://127.0.0.1:{self._port}/oauth2/v1/certs"

    def start(self) -> None:
        """Start serving the certificates."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        poll = {"poll_interval": STOP_POLL_SECONDS}
        threading.Thread(target=server.serve_forever, kwargs=poll, name="embedded-certs", daemon=True).start()
        self._server, self._port = server, server.server_port

    def stop(self) -> None:
        """Stop serving, and free the port; safe to call twice, and before `start`."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def token(self, email: str, audience: str) -> str:
        """A JWT that identifies the caller as `email`, for `audience`; cached while it is valid."""
        now = time.time()
        with self._lock:
            token, expiry = self._tokens.get((email, audience), ("", 0.0))
            if expiry < now + RENEW_SECONDS:
                token = self._get_identity().sign(claims(email, audience, int(now)))
                self._tokens[email, audience] = token, now + LIFETIME_SECONDS
        return token

    def certificates(self) -> dict[str, str]:
        """The PEM certificate by key id."""
        identity = self._get_identity()
        return {identity.signer.key_id: identity.certificate}

    def _get_identity(self) -> _Identity:
        with self._lock:
            if self._identity is None:
                self._identity = _new_identity()
            return self._identity


def claims(email: str, audience: str, now: int) -> dict[str, object]:
    """The claims of a push token; `now` in seconds since the epoch."""
    subject = str(int(hashlib.sha256(email.encode()).hexdigest()[:16], 16))
    return {
        "aud": audience,
        "azp": subject,
        "email": email,
        "email_verified": True,
        "exp": now + LIFETIME_SECONDS,
        "iat": now,
        "iss": ISSUER,
        "sub": subject,
    }


def _new_identity() -> _Identity:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "firepost local")])
    now, days = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=30)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - days, now + days)
    certificate = builder.sign(key, hashes.SHA256())
    key_id = certificate.fingerprint(hashes.SHA256()).hex()[:40]
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    signer = crypt.RSASigner.from_string(private, key_id)
    return _Identity(signer, certificate.public_bytes(serialization.Encoding.PEM).decode())


def _handler(issuer: TokenIssuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(issuer.certificates()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Cache-Control", f"public, max-age={LIFETIME_SECONDS}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log no requests."""

    return Handler
