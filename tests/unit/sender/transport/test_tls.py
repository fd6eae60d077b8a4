from __future__ import annotations

import json
import ssl

import pytest
import trustme

from sender.transport.smtp.tls import TlsOptions, build_context, parse_tls_options
from shared.errors import Misconfigured
from tests.unit.sender.transport.builders import AUTHORITY, pem


@pytest.mark.parametrize("nothing", [None, "", "  ", "{}"])
def test_certificates_are_verified_by_default(nothing: str | None) -> None:
    context = build_context(parse_tls_options(nothing, {}))
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.cert_store_stats() == ssl.create_default_context().cert_store_stats()


def test_verification_must_be_disabled_explicitly() -> None:
    context = build_context(parse_tls_options('{"rejectUnauthorized": false}', {}))
    assert context.verify_mode is ssl.CERT_NONE


def test_ca_replaces_the_systems_authorities() -> None:
    context = build_context(TlsOptions(ca=pem(AUTHORITY)))
    assert context.cert_store_stats()["x509_ca"] == 1


def test_several_authorities_may_be_given() -> None:
    context = build_context(parse_tls_options(json.dumps({"ca": [pem(AUTHORITY), pem(trustme.CA())]}), {}))
    assert context.cert_store_stats()["x509_ca"] == 2


def test_versions_and_ciphers_are_applied() -> None:
    text = '{"minVersion": "TLSv1.2", "maxVersion": "TLSv1.2", "ciphers": "ECDHE-RSA-AES128-GCM-SHA256"}'
    context = build_context(parse_tls_options(text, {}))
    assert context.maximum_version is ssl.TLSVersion.TLSv1_2
    assert "ECDHE-RSA-AES128-GCM-SHA256" in [cipher["name"] for cipher in context.get_ciphers()]
    assert "ECDHE-RSA-AES256-GCM-SHA384" not in [cipher["name"] for cipher in context.get_ciphers()]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        pytest.param("{rejectUnauthorized: false}", "not valid JSON", id="JavaScript is not JSON"),
        pytest.param("[]", "expected a JSON object", id="not an object"),
        pytest.param("null", "expected a JSON object", id="null"),
        pytest.param("[" * 100_000, "not valid JSON", id="too many brackets"),
        pytest.param("1" * 5000, "not valid JSON", id="too long a number"),
        pytest.param('{"rejectUnauthorised": false}', "option 1 is unknown; allowed are", id="typo"),
        pytest.param('{"rejectUnauthorized": "false"}', "'rejectUnauthorized': Input should be a valid boo", id="text"),
        pytest.param('{"minVersion": "TLSv1"}', "'minVersion': Input should be 'TLSv1.2' or 'TLSv1.3'", id="too old"),
        pytest.param(
            '{"minVersion": "TLSv1.3", "maxVersion": "TLSv1.2"}', "minVersion is higher than maxVersion", id="crossed"
        ),
        pytest.param('{"ciphers": "s3cret"}', "'ciphers' names no cipher", id="unknown cipher"),
        pytest.param('{"ca": "s3cret"}', "'ca' is not a PEM certificate", id="no certificate"),
        pytest.param('{"ca": "s3crét"}', "'ca' is not a PEM certificate", id="not even ASCII"),
        pytest.param('{"key": "s3cret"}', "'cert' and 'key' belong together", id="half a pair"),
        pytest.param('{"cert": "s3cret", "key": "s3cret"}', "'cert' and 'key' are not", id="no key"),
    ],
)
def test_wrong_options_are_errors_and_never_disable_verification(options: str, complaint: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        build_context(parse_tls_options(options, {}))
    assert str(caught.value).startswith("TLS_OPTIONS: ")
    assert complaint in str(caught.value)
    assert "s3cr" not in str(caught.value)
