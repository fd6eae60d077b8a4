"""`python -m sender check`: goes the way a mail would go, step by step, and says where it ends and what to change.

Nothing is sent, unless an address for a test mail is given; that one is composed and handed over by what production
does it with. It needs the mail settings alone: no Firestore, no Pub/Sub.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

import click

from sender import outlets
from sender.compose import compose
from sender.settings import MailSettings, TransportSettings
from sender.transport import sendgrid
from sender.transport.classify import Step
from sender.transport.connection import NOT_OFFERED
from sender.transport.envelope import DEFAULT_TRANSPORT, Deadline
from sender.transport.https import Answer, Unanswered, Unheard, why
from sender.transport.server import Encryption, SmtpServer
from sender.transport.smtp import open_connection
from shared.errors import Deferred, DeliveryFailed, Misconfigured
from shared.settings import load
from shared.web import EXIT_MISCONFIGURED

EXIT_FAILED = 1

#: For the way to a login, and again for the test mail. Patience beyond this hides a fault.
SECONDS = 30.0

_COLOURS = {"ok": "green", "failed": "red", "skipped": "yellow"}
_NAMES = {Step.CONNECT: "connect", Step.HELLO: "greet", Step.STARTTLS: "encrypt", Step.AUTH: "log in"}


class Status(StrEnum):
    """How a step went; `skipped` ones are not needed, or can't be had and are not insisted upon."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one step, in one line."""

    step: str
    status: Status
    detail: str


class Failed(Exception):
    """The way ends at this step."""

    def __init__(self, step: str, detail: str) -> None:
        super().__init__(detail)
        self.finding = Finding(step, Status.FAILED, " ".join(detail.split()))


Report = Callable[[Finding], None]


def run(send_to: str | None, report: Report) -> int:
    """Check what the environment says, of every transport; a test mail leaves by each.

    Returns the exit code: 0 all is well, 1 a step failed, 2 a wrong setting.
    """
    try:
        settings = load(MailSettings)
        outlets.outlet(settings, data_margin=0, turn_seconds=SECONDS)
        outlets.defaults(settings)
    except Misconfigured as error:
        report(Failed("settings", str(error)).finding)
        return EXIT_MISCONFIGURED
    results = [_is_well(settings, settings, DEFAULT_TRANSPORT, send_to, report)]
    for name, its in settings.transports.items():
        results.append(_is_well(settings, its, name, send_to, _under(name, report)))
    return 0 if all(results) else EXIT_FAILED


def _under(name: str, report: Report) -> Report:
    return lambda finding: report(replace(finding, step=f"{name}: {finding.step}"))


def _is_well(
    settings: MailSettings, transport: TransportSettings, name: str, send_to: str | None, report: Report
) -> bool:
    try:
        for finding in _sendgrid(transport) if transport.transport == "sendgrid" else _smtp(transport):
            report(finding)
        if send_to:
            report(_sent(settings, name, send_to))
    except Failed as end:
        report(end.finding)
        return False
    return True


def _smtp(settings: TransportSettings) -> Iterator[Finding]:
    server, tokens = outlets.smtp_server(settings), outlets.access_tokens(settings)
    deadline = Deadline.after(SECONDS)
    if tokens:
        try:
            tokens.get(deadline)
        except DeliveryFailed as failure:
            raise Failed("fetch token", str(failure)) from failure
        yield Finding("fetch token", Status.OK, settings.oauth.oauth_token_url if settings.oauth else "")
    passed: dict[Step, str] = {}
    try:
        open_connection(server, tokens, deadline, passed.__setitem__).quit()
    except DeliveryFailed as failure:
        yield from _session(server, passed, str(failure))
    else:
        yield from _session(server, passed, None)


def _session(server: SmtpServer, passed: Mapping[Step, str], failure: str | None) -> Iterator[Finding]:
    """From the steps that a session's beginning passed, and why it ended there. Raises `Failed`."""
    for step in _steps(server.encryption):
        if step in passed:
            status = Status.SKIPPED if passed[step] == NOT_OFFERED else Status.OK
            yield Finding(_NAMES[step], status, passed[step])
        elif failure:
            raise Failed(_NAMES[step], failure)
        else:
            yield Finding(_NAMES[step], Status.SKIPPED, "no user is configured")


def _steps(encryption: Encryption) -> list[Step]:
    match encryption:
        case Encryption.IMPLICIT:
            return [Step.CONNECT, Step.STARTTLS, Step.HELLO, Step.AUTH]
        case Encryption.NEVER:
            return [Step.CONNECT, Step.HELLO, Step.AUTH]
        case _:
            return [Step.CONNECT, Step.HELLO, Step.STARTTLS, Step.AUTH]


def _sendgrid(settings: TransportSettings) -> Iterator[Finding]:
    """The key is shown to the one request that any key may make: what the key may do."""
    account, until = outlets.sendgrid_account(settings), Deadline.after(SECONDS)
    try:
        answer = account.ask("GET", "/v3/scopes", start_by=until, end_by=until)
    except (Unheard, Unanswered) as error:
        raise Failed("connect", f"SendGrid ({account.site}) can't be asked: {why(error)}.") from error
    yield Finding("connect", Status.OK, str(account.site))
    if answer.status != 200:
        raise Failed("log in", str(sendgrid.refusal(answer)))
    yield Finding("log in", Status.OK, "the key is valid")
    if "mail.send" not in _scopes(answer):
        raise Failed("permission", "The key may not send mail: give it the permission 'Mail Send' in SendGrid.")
    yield Finding("permission", Status.OK, "the key may send mail")


def _scopes(answer: Answer) -> list[object]:
    try:
        said = json.loads(answer.body)
    except ValueError:
        return []
    scopes = said.get("scopes") if isinstance(said, dict) else None
    return scopes if isinstance(scopes, list) else []


def _sent(settings: MailSettings, transport: str, address: str) -> Finding:
    now = datetime.now(UTC)
    fields = {
        "to": address,
        "transport": transport,
        "message": {
            "subject": "Firepost: test mail",
            "text": f"Firepost can send mail with these settings ({now:%Y-%m-%d %H:%M} UTC).\n",
        },
    }
    outlet = outlets.outlet(settings, data_margin=SECONDS / 10, turn_seconds=SECONDS)
    stem, defaults = f"check-{secrets.token_hex(8)}", outlets.defaults(settings)
    try:
        mail = compose(fields, defaults, stem=stem, now=now, write=outlet.write)
        receipt = outlet.transport.send(mail.envelope, mail.data, Deadline.after(SECONDS))
    except (DeliveryFailed, Deferred) as failure:
        raise Failed("send", str(failure)) from failure
    finally:
        outlet.transport.close()
    return Finding("send", Status.OK, f"{receipt.response} (Message-ID {mail.message_id})")


def print_line(finding: Finding) -> None:
    """The finding for people; in colour on a terminal, unless NO_COLOR is set (https://no-color.org)."""
    status = click.style(f"{finding.status:<8}", fg=_COLOURS[finding.status])
    # A mail server's words must not steer the terminal.
    detail = "".join(character if character.isprintable() else "?" for character in finding.detail)
    click.echo(f"{status}{finding.step + ' ':<12}{detail}", color=False if os.environ.get("NO_COLOR") else None)


def print_json(finding: Finding) -> None:
    """The finding for programs: one JSON object per line."""
    click.echo(json.dumps(asdict(finding)))
