"""Turns Node's `tls` options into an `ssl.SSLContext` for the mail server."""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from shared.errors import Misconfigured

Version = Literal["TLSv1.2", "TLSv1.3"]

VERSIONS: Mapping[Version, ssl.TLSVersion] = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


class TlsOptions(BaseModel):
    """The options of Node's `tls.connect` that apply to a mail client, under Node's names.

    `ca`, `cert` and `key` are PEM texts; `ca` replaces the system's certificate authorities, as in Node. Certificates
    are verified unless `rejectUnauthorized` is explicitly false.
    """

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)

    reject_unauthorized: bool = True
    ca: str | list[str] | None = None
    cert: str | None = None
    key: str | None = None
    servername: str | None = None
    min_version: Version = "TLSv1.2"
    max_version: Version = "TLSv1.3"
    ciphers: str | None = None


def parse_tls_options(text: str | None, uri_options: Mapping[str, object]) -> TlsOptions:
    """Parse `TLS_OPTIONS` (JSON; may be None or blank), which override the `tls.*` options of the connection URI.

    Raises `Misconfigured`, which never quotes a value, because `key` is a secret.
    """
    options = {**uri_options, **_parse_json(text)}
    try:
        return TlsOptions.model_validate(options)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        name = fault["loc"][0]
        if fault["type"] == "extra_forbidden":
            allowed = ", ".join(to_camel(field) for field in TlsOptions.model_fields)
            number = list(options).index(str(name)) + 1
            raise Misconfigured(f"TLS_OPTIONS: option {number} is unknown; allowed are {allowed}.") from None
        raise Misconfigured(f"TLS_OPTIONS: option '{name}': {fault['msg']}.") from None


def _parse_json(text: str | None) -> dict[str, object]:
    if text is None or not text.strip():
        return {}
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Misconfigured(f"TLS_OPTIONS: not valid JSON ({error.msg} at {where}).") from None
    except (ValueError, RecursionError):  # a number too long, or too many brackets
        raise Misconfigured("TLS_OPTIONS: not valid JSON for these options.") from None
    if not isinstance(options, dict):
        raise Misconfigured('TLS_OPTIONS: expected a JSON object such as {"rejectUnauthorized": true}.')
    return options


def build_context(options: TlsOptions) -> ssl.SSLContext:
    """One context for all connections, so that certificates are loaded only once.

    Raises `Misconfigured` with the name of the option that OpenSSL does not accept.
    """
    context = _trusting(options.ca)
    if not options.reject_unauthorized:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if VERSIONS[options.min_version] > VERSIONS[options.max_version]:
        raise Misconfigured("TLS_OPTIONS: minVersion is higher than maxVersion.")
    context.minimum_version = VERSIONS[options.min_version]
    context.maximum_version = VERSIONS[options.max_version]
    if options.ciphers is not None:
        try:
            context.set_ciphers(options.ciphers)
        except ssl.SSLError:
            raise Misconfigured("TLS_OPTIONS: option 'ciphers' names no cipher that OpenSSL knows.") from None
    _load_client_certificate(context, options)
    return context


def _trusting(ca: str | list[str] | None) -> ssl.SSLContext:
    pem = "\n".join(ca) if isinstance(ca, list) else ca
    try:
        return ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, TypeError, ValueError):
        raise Misconfigured("TLS_OPTIONS: option 'ca' is not a PEM certificate.") from None


def _load_client_certificate(context: ssl.SSLContext, options: TlsOptions) -> None:
    if options.cert is None and options.key is None:
        return
    if options.cert is None or options.key is None:
        raise Misconfigured("TLS_OPTIONS: 'cert' and 'key' belong together; one of them is missing.")
    # The ssl module reads a client's key from files only.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
        pem.write(f"{options.cert}\n{options.key}\n")
        pem.flush()
        try:
            # An empty password keeps OpenSSL from prompting on the terminal if the key is encrypted.
            context.load_cert_chain(pem.name, password="")
        except (ssl.SSLError, ValueError):
            raise Misconfigured(
                "TLS_OPTIONS: 'cert' and 'key' are not a PEM certificate and its unencrypted key."
            ) from None
