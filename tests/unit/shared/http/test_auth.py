"""Tokens in Google's format, signed with a test key; certificates served over real HTTP."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt
from google.auth.exceptions import TransportError

from shared.errors import Unavailable
from shared.http import auth
from shared.http.app import base_app
from shared.http.auth import TokenVerifier, Unauthorized
from tests.patience import patience

PATIENCE = patience(10)

AUDIENCE = "https://sender.example.com"
CALLER = "pusher@p.iam.gserviceaccount.com"

#: Values of claims in tokens with a valid signature.
_ODD: tuple[Any, ...] = (None, [], {}, "soon", ["https://accounts.google.com"])
ODD_CLAIMS = {"iss": (*_ODD, 10**400, True), "aud": (*_ODD, 1), "email": (*_ODD, 1), "iat": _ODD, "exp": _ODD}


class Certificates:
    """Google's certificate endpoint: `{key id: PEM}`, cacheable."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key())
        now = datetime.now(UTC)
        certificate = (
            builder.serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )
        self.body = json.dumps({"k1": certificate.public_bytes(serialization.Encoding.PEM).decode()}).encode()
        self.fetches = 0
        certificates = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                certificates.fetches += 1
                self.send_response(200)
                self.send_header("Cache-Control", "public, max-age=3600")
                self.end_headers()
                self.wfile.write(certificates.body)

            def log_message(self, *args: Any) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/certs"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def token(self, key: rsa.RSAPrivateKey | None = None, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": "https://accounts.google.com",
            "aud": AUDIENCE,
            "email": CALLER,
            "email_verified": True,
            "iat": now,
            "exp": now + 3600,
        }
        signed: bytes = jwt.encode(crypt.RSASigner(key or self.key, "k1"), claims | changes)
        return signed.decode()


@pytest.fixture(scope="module")
def certificates() -> Iterator[Certificates]:
    certificates = Certificates()
    yield certificates
    certificates.server.shutdown()
    certificates.server.server_close()


@pytest.fixture
def verifier(certificates: Certificates) -> TokenVerifier:
    return TokenVerifier.over_http(AUDIENCE, frozenset({CALLER}), certificates.url)


def test_a_valid_token_is_accepted(verifier: TokenVerifier, certificates: Certificates) -> None:
    verifier.verify(f"Bearer {certificates.token()}")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"aud": "https://elsewhere.example.com"}, id="for-another-audience"),
        pytest.param({"email": "mallory@p.iam.gserviceaccount.com"}, id="of-another-account"),
        pytest.param({"email_verified": False}, id="email-not-verified"),
        pytest.param({"iss": "https://mallory.example.com"}, id="another-issuer"),
        pytest.param({"iat": 1, "exp": 2}, id="expired"),
        *(
            pytest.param({name: value}, id=f"{name}-{type(value).__name__}")
            for name, values in ODD_CLAIMS.items()
            for value in values
        ),
        pytest.param({"email_verified": "false"}, id="email-verified-in-words"),
    ],
)
def test_any_other_token_is_rejected(
    verifier: TokenVerifier, certificates: Certificates, changes: dict[str, Any]
) -> None:
    with pytest.raises(Unauthorized):
        verifier.verify(f"Bearer {certificates.token(**changes)}")


def test_a_token_that_another_key_has_signed_is_rejected(verifier: TokenVerifier, certificates: Certificates) -> None:
    with pytest.raises(Unauthorized):
        verifier.verify(f"Bearer {certificates.token(rsa.generate_private_key(public_exponent=65537, key_size=2048))}")


@pytest.mark.parametrize(
    ("audience", "accepted"),
    [
        pytest.param("https://mail-sender-x1y2z3-ey.a.run.app", True, id="the-part-that-nobody-knew-before"),
        pytest.param("https://mail-sender-123456.europe-west3.run.app", True, id="its-other-address"),
        pytest.param("https://mail-sender-x1y2z3-ey.a.run.app.mallory.example.com", False, id="more-after-it"),
        pytest.param("https://mallory.example.com/https://mail-sender-x.run.app", False, id="more-before-it"),
        pytest.param("https://mail-sender-x.mallory.example.com/.run.app", False, id="a-path-in-the-gap"),
        pytest.param("https://mail-sender-xxrun-app", False, id="dots-are-dots"),
        pytest.param(["https://mail-sender-x1y2z3-ey.a.run.app"], False, id="not-one-audience"),
    ],
)
def test_an_asterisk_in_the_audience_matches_part_of_a_host_name(
    certificates: Certificates, audience: object, accepted: bool
) -> None:
    verifier = TokenVerifier.over_http("https://mail-sender-*.run.app", frozenset({CALLER}), certificates.url)
    token = certificates.token(aud=audience)
    if accepted:
        verifier.verify(f"Bearer {token}")
    else:
        with pytest.raises(Unauthorized):
            verifier.verify(f"Bearer {token}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", "Bearer not.a.token"])
def test_malformed_tokens_are_rejected(verifier: TokenVerifier, header: str | None) -> None:
    with pytest.raises(Unauthorized):
        verifier.verify(header)


def test_certificates_are_fetched_once(verifier: TokenVerifier, certificates: Certificates) -> None:
    before = certificates.fetches
    for _ in range(5):
        verifier.verify(f"Bearer {certificates.token()}")
    assert certificates.fetches == before + 1


def test_without_certificates_the_service_is_unavailable(certificates: Certificates) -> None:
    verifier = TokenVerifier.over_http(AUDIENCE, frozenset({CALLER}), "http://127.0.0.1:1/certs")
    with pytest.raises(Unavailable):
        verifier.verify(f"Bearer {certificates.token()}")


@pytest.mark.parametrize("changes", [{"aud": "https://elsewhere.example.com"}, {"iss": []}, {"email": {}}], ids=str)
def test_without_certificates_a_wrong_token_is_refused_all_the_same(
    certificates: Certificates, changes: dict[str, Any]
) -> None:
    verifier = TokenVerifier.over_http(AUDIENCE, frozenset({CALLER}), "http://127.0.0.1:1/certs")
    for token in (certificates.token(**changes), "x", "x.y.z", f"{part('[' * 1500)}.{part('{}')}.x"):
        with pytest.raises(Unauthorized):
            verifier.verify(f"Bearer {token}")


def test_the_endpoints_require_a_token_to_post(verifier: TokenVerifier, certificates: Certificates) -> None:
    client = base_app("test", verifier, 100, lambda header, body: ("in", 200)).test_client()
    bearer = {"Authorization": f"Bearer {certificates.token()}"}
    for length in (None, "1"):  # through Flask and through the fast path
        options: dict[str, Any] = {"input_stream": BytesIO(b"x"), "content_length": length}
        assert client.post("/", **options).status_code == 401
        options["input_stream"] = BytesIO(b"x")
        assert client.post("/", headers=bearer, **options).text == "in"
    assert client.post("/elsewhere").status_code == 401
    assert client.get("/health").status_code == 200


def test_the_body_of_an_unauthorised_request_is_not_read(verifier: TokenVerifier) -> None:
    body = BytesIO(b"x")
    client = base_app("test", verifier, 100, lambda header, body: ("in", 200)).test_client()
    assert client.post("/", input_stream=body, content_length="1").status_code == 401
    assert body.tell() == 0


def unsigned(token: str) -> str:
    """The token as forwarded by Cloud Run, which has verified and removed the signature."""
    return f"Bearer {token.rpartition('.')[0]}.SIGNATURE_REMOVED_BY_GOOGLE"


def verifier_behind(certificates: Certificates, *, behind_cloud_run: bool) -> TokenVerifier:
    return TokenVerifier.over_http(AUDIENCE, frozenset({CALLER}), certificates.url, behind_cloud_run=behind_cloud_run)


def test_a_signature_removed_by_cloud_run_is_accepted_only_behind_cloud_run(certificates: Certificates) -> None:
    token = unsigned(certificates.token())
    verifier_behind(certificates, behind_cloud_run=True).verify(token)
    with pytest.raises(Unauthorized):
        verifier_behind(certificates, behind_cloud_run=False).verify(token)


@pytest.mark.parametrize(
    "changes", [{"aud": "https://other.example.com"}, {"email": "eve@p.iam.gserviceaccount.com"}, {"iss": "https://x"}]
)
def test_claims_are_checked_without_a_signature_too(certificates: Certificates, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        verifier_behind(certificates, behind_cloud_run=True).verify(unsigned(certificates.token(**changes)))


@pytest.mark.parametrize("token", ["x.SIGNATURE_REMOVED_BY_GOOGLE", "a.b.SIGNATURE_REMOVED_BY_GOOGLE", "a.b.forged"])
def test_malformed_tokens_are_rejected_behind_cloud_run_too(certificates: Certificates, token: str) -> None:
    with pytest.raises(Unauthorized):
        verifier_behind(certificates, behind_cloud_run=True).verify(f"Bearer {token}")


def part(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


@pytest.mark.parametrize(
    "payload",
    [
        "[" * 1500,
        "[" * 100_000,
        '{"a":' * 1500,
        "[]",
        "1",
        "null",
        '"x"',
        "{",
        "NaN",
        "1" * 5000,
        '"\ud800"',
        "{}",
        '{"exp": {}}',
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("behind_cloud_run", [False, True])
def test_arbitrary_tokens_are_rejected(
    certificates: Certificates, payload: str, behind_cloud_run: bool, caplog: pytest.LogCaptureFixture
) -> None:
    verifier = verifier_behind(certificates, behind_cloud_run=behind_cloud_run)
    client = base_app("test", verifier, 100, lambda header, body: ("in", 200)).test_client()
    header = part('{"alg": "RS256", "kid": "k1"}')
    for token in (
        f"{header}.{part(payload)}.{part('x')}",
        f"{part(payload)}.{part('{}')}.{part('x')}",
        f"{header}.{part(payload)}.SIGNATURE_REMOVED_BY_GOOGLE",
    ):
        for length in (None, "1"):  # through Flask and through the fast path
            options: dict[str, Any] = {"input_stream": BytesIO(b"x"), "content_length": length}
            assert client.post("/", headers={"Authorization": f"Bearer {token}"}, **options).status_code == 401
    assert not any(record.exc_info for record in caplog.records)


class TestRenewal:
    """Renewal of certificates, with prepared responses and a test clock."""

    class Answers:
        """Returns prepared responses, or raises prepared errors."""

        def __init__(self, body: bytes) -> None:
            self.status, self.data, self.headers = 200, body, {"Cache-Control": "max-age=3600"}
            self.error: Exception | None = None
            self.calls = 0
            self.meanwhile: Callable[[], object] = lambda: None

        def __call__(self, url: str, **options: Any) -> Any:
            self.calls += 1
            self.meanwhile()
            if self.error:
                raise self.error
            return SimpleNamespace(status=self.status, data=self.data, headers=self.headers)

    @pytest.fixture
    def answers(self, certificates: Certificates) -> TestRenewal.Answers:
        return self.Answers(certificates.body)

    @pytest.fixture
    def time(self) -> list[float]:
        return [0.0]

    @pytest.fixture
    def cached(self, answers: TestRenewal.Answers, time: list[float]) -> auth.Certificates:
        return auth.Certificates("https://certs.example.com", answers, lambda: time[0])  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "failure",
        [
            {"status": 500},
            {"status": 404, "data": b"{}"},
            {"data": b"<html>"},
            {"data": b"{}"},
            {"data": b"[]"},
            {"data": b'{"k1": 5}'},
            {"data": b'{"k1": "no certificate"}'},
            {"data": b"[" * 5000},
            {"data": b"\xff"},
            {"error": TransportError("timed out")},
        ],
        ids=str,
    )
    def test_while_it_fails_old_ones_are_used_and_retried_every_30_seconds(
        self, cached: auth.Certificates, answers: TestRenewal.Answers, time: list[float], failure: dict[str, Any]
    ) -> None:
        old = cached.current()
        for name, value in failure.items():
            setattr(answers, name, value)
        time[0] = 600
        assert [cached.current() for _ in range(9)] == [old] * 9
        assert answers.calls == 2
        time[0] = 630
        assert cached.current() == old
        assert answers.calls == 3

    def test_one_thread_renews_and_the_others_do_not_wait(
        self, cached: auth.Certificates, answers: TestRenewal.Answers, time: list[float]
    ) -> None:
        old = cached.current()
        time[0] = 600
        with ThreadPoolExecutor() as others:
            answers.meanwhile = lambda: others.submit(cached.current).result(PATIENCE) is old or pytest.fail("waited")
            assert cached.current() == old
        assert answers.calls == 2

    def test_without_certificates_all_threads_wait_for_one_and_share_its_failure(
        self, cached: auth.Certificates, answers: TestRenewal.Answers
    ) -> None:
        answers.error = TransportError("timed out")
        with ThreadPoolExecutor(8) as pool:
            errors = [future.exception() for future in [pool.submit(cached.current) for _ in range(8)]]
        assert {type(error) for error in errors} == {Unavailable}
        assert answers.calls == 1

    def test_without_max_age_certificates_are_kept_for_30_seconds(
        self, cached: auth.Certificates, answers: TestRenewal.Answers, time: list[float]
    ) -> None:
        answers.headers = {}
        for now, calls in ((0, 1), (29, 1), (30, 2)):
            time[0] = now
            cached.current()
            assert answers.calls == calls
