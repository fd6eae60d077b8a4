"""`python -m sender check`: tries each step up to sending a mail, and reports what fails and what to change.

A mail is only sent if an address for a test mail is given; it is composed and sent by the same code as in production.
Only the mail settings are needed: no Firestore, no Pub/Sub.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, replace
from datetime import UTC, datetime

import click

from sender import factory
from sender.check_steps import Finding, Report, Status, Stopwatch
from sender.message.compose import Composer
from sender.net.http import NoResponse, RequestNotSent, why
from sender.settings import MailSettings, TransportSettings
from sender.transport.envelope import DEFAULT_TRANSPORT
from sender.transport.smtp.config import Encryption, SmtpServer
from sender.transport.smtp.connection import NOT_OFFERED
from sender.transport.smtp.replies import Step
from sender.transport.smtp.transport import open_connection
from shared.deadline import Deadline
from shared.errors import Deferred, DeliveryFailed, Misconfigured
from shared.settings import SHADOW_NOTICE, Mode, load
from shared.starting import EXIT_MISCONFIGURED

EXIT_FAILED = 1

#: Time limit for the steps up to the login, and again for the test mail. Some servers take half a minute to greet.
SECONDS = 60.0

_COLOURS = {"ok": "green", "failed": "red", "skipped": "yellow", "waiting": "cyan"}
_NAMES = {Step.CONNECT: "connect", Step.HELLO: "greet", Step.STARTTLS: "encrypt", Step.AUTH: "log in"}


class Failed(Exception):
    """The current step failed."""

    def __init__(self, detail: str) -> None:
        super().__init__(" ".join(detail.split()))


def run(send_to: str | None, report: Report) -> int:
    """Check every transport configured in the environment, and send a test mail over each if `send_to` is given.

    Returns the exit code: 0 success, 1 a step failed, 2 a wrong setting.
    """
    try:
        settings = load(MailSettings)
        factory.build_channel(settings, data_margin=0, turn_seconds=SECONDS)
        factory.defaults(settings)
        shadow = load(Mode).shadow
        factory.guard(settings)
    except Misconfigured as error:
        report(Finding("settings", Status.FAILED, " ".join(str(error).split())))
        return EXIT_MISCONFIGURED
    if shadow:
        report(Finding("shadow", Status.SKIPPED, f"{SHADOW_NOTICE}; these steps show what happens without it"))
    results = [_succeeds(settings, settings, DEFAULT_TRANSPORT, send_to, report)]
    for name, named in settings.transports.items():
        results.append(_succeeds(settings, named, name, send_to, _prefixed(name, report)))
    return 0 if all(results) else EXIT_FAILED


def _prefixed(name: str, report: Report) -> Report:
    return lambda finding: report(replace(finding, step=f"{name}: {finding.step}"))


def _succeeds(
    settings: MailSettings, transport: TransportSettings, name: str, send_to: str | None, report: Report
) -> bool:
    with Stopwatch(report) as watch:
        try:
            (_sendgrid if transport.transport == "sendgrid" else _smtp)(transport, watch)
            if send_to:
                _send(settings, name, send_to, watch)
        except Failed as failure:
            watch.end(Status.FAILED, str(failure))
            return False
        except Exception as error:  # a server may answer anything; the error's text may quote it
            watch.end(Status.FAILED, f"This step failed unexpectedly ({type(error).__name__}): please report this.")
            return False
    return True


def _smtp(settings: TransportSettings, watch: Stopwatch) -> None:
    server, tokens = factory.smtp_server(settings), factory.access_tokens(settings)
    deadline = Deadline.after(SECONDS)
    if tokens:
        watch.begin("fetch token", f"an access token from {tokens.server}")
        try:
            tokens.get(deadline)
        except DeliveryFailed as failure:
            raise Failed(str(failure)) from failure
        watch.end(Status.OK, tokens.server)
    progress = _SessionProgress(server, watch)
    try:
        open_connection(server, tokens, deadline, progress.passed).quit()
    except DeliveryFailed as failure:
        raise Failed(str(failure)) from failure
    progress.finish()


class _SessionProgress:
    """Reports the steps of opening a session."""

    def __init__(self, server: SmtpServer, watch: Stopwatch) -> None:
        self._server = server
        self._watch = watch
        self._remaining = _steps(server.encryption)
        self._begin_next()

    def passed(self, step: Step, detail: str) -> None:
        """The `Progress` for `open_connection`, which reports some steps twice."""
        if self._remaining and step is self._remaining[0]:
            self._remaining.pop(0)
            self._watch.end(Status.SKIPPED if detail == NOT_OFFERED else Status.OK, detail)
            self._begin_next()

    def finish(self) -> None:
        """Report the remaining step, the login, as not needed."""
        if self._remaining:
            self._watch.end(Status.SKIPPED, "no user is configured")

    def _begin_next(self) -> None:
        if self._remaining:
            self._watch.begin(_NAMES[self._remaining[0]], _awaited(self._remaining[0], self._server))


def _awaited(step: Step, server: SmtpServer) -> str:
    match step:
        case Step.CONNECT:
            return f"{server} to accept the connection"
        case Step.HELLO if server.encryption is not Encryption.IMPLICIT:
            return f"{server} to greet; a port that expects TLS from the first byte (465) is silent, too: try smtps://"
        case Step.HELLO:
            return f"{server} to greet"
        case Step.STARTTLS:
            return f"{server} to agree on TLS; a port for STARTTLS (587) is silent here: try smtp://"
        case _:
            return f"{server} to answer the login"


def _steps(encryption: Encryption) -> list[Step]:
    match encryption:
        case Encryption.IMPLICIT:
            return [Step.CONNECT, Step.STARTTLS, Step.HELLO, Step.AUTH]
        case Encryption.NEVER:
            return [Step.CONNECT, Step.HELLO, Step.AUTH]
        case _:
            return [Step.CONNECT, Step.HELLO, Step.STARTTLS, Step.AUTH]


def _sendgrid(settings: TransportSettings, watch: Stopwatch) -> None:
    """Ask SendGrid for the key's permissions, a request that every key may make."""
    account, until = factory.sendgrid_account(settings), Deadline.after(SECONDS)
    watch.begin("connect", f"SendGrid ({account.endpoint})")
    try:
        answer = account.ask("GET", "/v3/scopes", start_by=until, end_by=until)
    except (RequestNotSent, NoResponse) as error:
        raise Failed(f"The request to SendGrid ({account.endpoint}) failed: {why(error)}.") from error
    watch.end(Status.OK, str(account.endpoint))
    watch.begin("log in", "SendGrid")
    if answer.status != 200:
        raise Failed(str(account.refusal(answer)))
    watch.end(Status.OK, "the key is valid")
    watch.begin("permission", "SendGrid")
    scopes = answer.object().get("scopes")
    if not isinstance(scopes, list) or "mail.send" not in scopes:
        raise Failed("The key may not send mail: give it the permission 'Mail Send' in SendGrid.")
    watch.end(Status.OK, "the key may send mail")


def _send(settings: MailSettings, transport: str, address: str, watch: Stopwatch) -> None:
    watch.begin("send", "the test mail to be accepted")
    now = datetime.now(UTC)
    fields = {
        "to": address,
        "transport": transport,
        "message": {
            "subject": "Firepost: test mail",
            "text": f"Firepost can send mail with these settings ({now:%Y-%m-%d %H:%M} UTC).\n",
        },
    }
    channel = factory.build_channel(settings, data_margin=SECONDS / 10, turn_seconds=SECONDS)
    seed = f"check-{secrets.token_hex(8)}"
    compose = Composer(factory.defaults(settings), channel.encode, guard=factory.guard(settings))
    try:
        mail = compose(fields, seed=seed, now=now)
        receipt = channel.transport.send(mail.envelope, mail.data, Deadline.after(SECONDS))
    except (DeliveryFailed, Deferred) as failure:
        raise Failed(str(failure)) from failure
    finally:
        channel.transport.close()
    instead = "; sent to RECIPIENTS_REDIRECT instead" if mail.withheld else ""
    watch.end(Status.OK, f"{receipt.response} (Message-ID {mail.message_id}){instead}")


def print_line(finding: Finding) -> None:
    """Print the finding for people, in colour on a terminal unless NO_COLOR is set (https://no-color.org)."""
    status = click.style(f"{finding.status:<8}", fg=_COLOURS[finding.status])
    # A mail server's reply must not control the terminal.
    detail = "".join(character if character.isprintable() else "?" for character in finding.detail)
    if finding.seconds is not None:
        detail += f" ({finding.seconds:.1f} s)"
    click.echo(f"{status}{finding.step + ' ':<12}{detail}", color=False if os.environ.get("NO_COLOR") else None)


def print_json(finding: Finding) -> None:
    """Print the finding for programs: one JSON object per line."""
    click.echo(json.dumps(asdict(finding)))
