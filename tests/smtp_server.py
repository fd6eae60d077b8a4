"""A real SMTP server on a thread, whose behaviour a test scripts.

    with ScriptedServer() as server:
        server.when("RCPT", "bob@example.com").reply("550 5.1.1 No such user")
        server.when("MAIL", nth=3).reply("421 4.7.0 Come back later").drop()
        server.when("BODY").pause(0.2)
        stall = server.when("BODY", nth=1).stall()
        ...
        stall.reached.wait(5)      # the first mail is here in full, and not answered
        stall.release()            # now it is accepted

Events are CONNECT, the verbs of the commands, and BODY (a whole mail has arrived). A rule's actions are executed in
order, followed by the usual reply unless the rule replies itself or drops the connection. A positive reply has its
usual effect: the recipient is recorded, the mail is read, TLS starts. Rules may be added while the server runs; the
newest matching rule applies.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import re
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from tests.patience import patience
from tests.smtp_script import Hangup, Rule, Stall

#: Longer than any intended wait; reached only if something is broken.
PATIENCE = patience(10.0)

#: The extensions that the scripted server offers by default.
EXTENSIONS = ("PIPELINING", "SIZE 10485760", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


def without(extension: str) -> tuple[str, ...]:
    """All extensions but this one."""
    return tuple(name for name in EXTENSIONS if not name.startswith(extension))


#: The commands that have an effect besides the reply.
EFFECTIVE = ("MAIL", "RCPT", "DATA", "STARTTLS", "QUIT")


@dataclass(frozen=True)
class Mail:
    """A mail that arrived completely, with the number of its session.

    `reply` is the reply to it, or None if the connection was dropped first.
    """

    sender: str
    recipients: tuple[str, ...]
    options: str
    data: bytes
    session: int
    reply: str | None = None


@dataclass(frozen=True)
class Idle:
    """What the server does if a client sends no command for `seconds`: it sends `farewell`, if any, and hangs up.

    With `resets`, it hangs up with a RST; with `stays`, it does not hang up.
    """

    seconds: float
    farewell: str = ""
    stays: bool = False
    resets: bool = False


class ScriptedServer:
    """Listens on a free port of 127.0.0.1 while its context is open.

    With `tls`, it uses implicit TLS if `implicit` is set, and offers STARTTLS otherwise. With `users` (passwords or
    access tokens by name), it offers AUTH with the `mechanisms` and accepts mail only after a login. With
    `replies_together`, it answers pipelined commands in one write, as Postfix does; otherwise one by one.

    `idle` is what it does to inactive clients, see `Idle`. All attributes may be changed while it runs.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        implicit: bool = False,
        users: Mapping[str, str] | None = None,
        mechanisms: Iterable[str] = ("PLAIN", "LOGIN"),
        extensions: Iterable[str] = EXTENSIONS,
        replies_together: bool = False,
    ) -> None:
        self.tls = tls
        self.implicit = implicit
        self.users = users
        self.mechanisms = tuple(mechanisms)
        self.extensions = tuple(extensions)
        self.replies_together = replies_together
        self.idle: Idle | None = None
        self.sessions: list[Session] = []
        self.mails: list[Mail] = []
        self.surplus_reply: str | None = None
        self._allowed: int | None = None
        self._rules: list[Rule] = []
        self._stalls: list[Stall] = []
        self._counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host, self.port = self._socket.getsockname()

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):  # wakes the thread that waits in accept
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for stall in self._stalls:
            stall.release()
        for session in self.sessions:
            session.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE)

    def uri(self, user: str = "", host: str = "127.0.0.1") -> str:
        """A value for `SMTP_CONNECTION_URI`; `user` is inserted unchanged and may include `:password`."""
        return f"smtp{'s' if self.implicit else ''}://{user}{'@' if user else ''}{host}:{self.port}"

    def when(
        self,
        event: str,
        text: str = "",
        *,
        nth: int | None = None,
        nth_in_session: int | None = None,
        session: int | None = None,
    ) -> Rule:
        """Add a rule for an event whose command (for BODY: sender and recipients) contains `text`.

        It can be limited to the n-th event of this kind on the server or in its session, or to one session; all are
        counted from 1.
        """
        rule = Rule(event, text, nth, nth_in_session, session, self._stalls)
        self._rules.insert(0, rule)
        return rule

    def allow(self, sessions: int, reply: str | None = None) -> None:
        """Admit so many sessions at a time; others get the `reply`, if any, and are closed."""
        self._allowed, self.surplus_reply = sessions, reply

    def forget_rules(self) -> None:
        """Remove all rules. A stalled session stays so until the test releases it."""
        self._rules.clear()

    def reset(self) -> None:
        """Return to the initial state: remove the rules, restart all counts, and release every stalled session."""
        self.forget_rules()
        self._allowed = None
        with self._changed:
            self._counts.clear()
        for session in self.sessions:
            session.counts.clear()
        for stall in self._stalls:
            stall.release()
        self._stalls.clear()

    @property
    def accepted(self) -> list[Mail]:
        """The mails that the server has accepted, whether or not the client received the reply."""
        return [mail for mail in self.mails if mail.reply is not None and mail.reply.startswith("2")]

    @property
    def commands(self) -> list[str]:
        """The commands of all sessions, session by session."""
        return [command for session in self.sessions for command in session.commands]

    def wait_for_mails(self, count: int, seconds: float = PATIENCE) -> list[Mail]:
        """Wait until `count` mails are accepted; returns all of them. Raises `TimeoutError`."""
        self.wait_until(lambda: len(self.accepted) >= count, seconds)
        return self.accepted

    def wait_until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until the condition holds; it is evaluated after each event. Raises `TimeoutError`."""
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise TimeoutError(f"the condition did not hold within {seconds} s; commands: {self.commands}")

    # For the sessions

    def rule_for(self, event: str, text: str, nth_in_session: int, session: int) -> Rule | None:
        with self._changed:
            self._counts[event] += 1
            nth = self._counts[event]
        return next((rule for rule in self._rules if rule.matches(event, text, nth, nth_in_session, session)), None)

    def record(self, mail: Mail) -> None:
        with self._changed:
            self.mails.append(mail)
            self._changed.notify_all()

    def notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        if self._closing.wait(seconds):
            raise Hangup

    def wait(self, event: threading.Event) -> None:
        """Wait until the test sets `event` or ends, which sets those of all stalls."""
        event.wait()
        if self._closing.is_set():
            raise Hangup

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            session = Session(self, connection, len(self.sessions) + 1)
            are_open = sum(not (other.ended or other.is_surplus) for other in self.sessions)
            session.is_surplus = self._allowed is not None and are_open >= self._allowed
            self.sessions.append(session)
            self._start(session.run)

    def _start(self, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name="scripted-smtp", daemon=True)
        self._threads.append(thread)
        thread.start()


class Session:
    """One connection: its commands, and the server's behaviour.

    `round_trips` counts how often the client has waited for replies before sending more.
    """

    def __init__(self, server: ScriptedServer, connection: socket.socket, number: int) -> None:
        self.server = server
        self.number = number
        self.commands: list[str] = []
        self.user: str | None = None
        self.encrypted = False
        self.ended = False
        self.is_surplus = False
        self.farewell_said = False
        self.round_trips = 0
        self.counts: Counter[str] = Counter()
        self._unread = bytearray()
        self._unsent = b""
        self._has_answered = False
        self._hangs_up = False
        self._sender: str | None = None
        self._last_reply = ""
        self._unanswered: Mail | None = None
        self._has_replied = False
        self._forget_mail()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection

    def run(self) -> None:
        try:
            self._converse()
        except (Hangup, OSError):
            pass  # either side may end it at any time; tests check what was sent
        finally:
            with contextlib.suppress(OSError):
                self._flush()
            self._socket.close()
            self.ended = True
            self.server.notify()

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def resets_at_end(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def reply(self, *lines: str) -> None:
        if self._has_replied:  # a rule has replied; the usual handler only ran for its effect
            self._has_replied = False
            return
        self._answer(lines)
        self._unsent += "".join(f"{line}\r\n" for line in lines).encode()
        if not self.server.replies_together:
            self._flush()

    def drip(self, seconds: float, lines: Iterable[str]) -> None:
        self._answer(lines)
        for byte in "".join(f"{line}\r\n" for line in lines).encode():
            self._unsent += bytes([byte])
            self._flush()
            self.server.pause(seconds)

    def babble(self, seconds: float, line: str) -> None:
        while True:
            self.reply(line)
            self.server.pause(seconds)

    def _answer(self, lines: Iterable[str]) -> None:
        """Record the reply, and the mail, before the reply is sent: a client that has received it finds both."""
        self._last_reply = "\n".join(lines)
        if self._unanswered is not None:
            self.server.record(replace(self._unanswered, reply=self._last_reply))
            self._unanswered = None

    def _converse(self) -> None:
        if self.is_surplus:
            if self.server.surplus_reply is not None:
                self.reply(self.server.surplus_reply)
            return
        if self.server.tls and self.server.implicit:
            self._encrypt(self.server.tls)
        self._at("CONNECT", "", functools.partial(self.reply, "220 scripted.test ESMTP"))
        while not self._hangs_up:
            line = self._read_line() if self.server.idle is None else self._read_or_leave(self.server.idle)
            self.commands.append(line)
            verb = line.split(" ", 1)[0].upper()
            usual = getattr(self, f"_usual_{verb.lower()}", self._usual_unknown)
            self._at(verb, line, functools.partial(usual, line))
            self.server.notify()

    def _at(self, event: str, text: str, usual: Callable[[], None]) -> None:
        """Execute the newest rule for the event, then the usual handler, unless the rule has replied."""
        self.counts[event] += 1
        rule = self.server.rule_for(event, text, self.counts[event], self.number)
        for action in rule.actions if rule else ():
            action(self)
        if rule is None or not rule.replies:
            usual()
        elif event in EFFECTIVE and self._last_reply[:1] in ("2", "3"):
            self._has_replied = True
            usual()

    def _usual_ehlo(self, line: str) -> None:
        extensions = list(self.server.extensions)
        if self.server.tls and not self.encrypted:
            extensions.append("STARTTLS")
        if self.server.users is not None:
            extensions.append(" ".join(["AUTH", *self.server.mechanisms]))
        *first, last = ["scripted.test", *extensions]
        self.reply(*(f"250-{line}" for line in first), f"250 {last}")

    def _usual_helo(self, line: str) -> None:
        self.reply("250 scripted.test")

    def _usual_starttls(self, line: str) -> None:
        if self.server.tls is None:
            self.reply("502 5.5.1 Not here")
            return
        self.reply("220 2.0.0 Go ahead")
        self._encrypt(self.server.tls)

    def _usual_auth(self, line: str) -> None:
        _, mechanism, *initial = line.split(" ")
        if mechanism == "PLAIN":
            proof = _decode(initial[0] if initial else self._challenge(""))
            _, user, password = proof.split("\0")
        elif mechanism == "LOGIN":
            user, password = _decode(self._challenge("VXNlcm5hbWU6")), _decode(self._challenge("UGFzc3dvcmQ6"))
        elif mechanism == "XOAUTH2":
            user, password = re.fullmatch("user=(.*)\1auth=Bearer (.*)\1\1", _decode(initial[0])).groups()  # type: ignore[union-attr]
            if (self.server.users or {}).get(user) != password:
                self._challenge("eyJzdGF0dXMiOiI0MDAifQ==")  # {"status":"400"}
        else:
            self.reply("504 5.5.4 Unrecognized authentication type")
            return
        if (self.server.users or {}).get(user) == password:
            self.user = user
            self.reply("235 2.7.0 Authentication successful")
        else:
            self.reply("535 5.7.8 Authentication credentials invalid")

    def _usual_mail(self, line: str) -> None:
        if self.server.users is not None and self.user is None:
            self.reply("530 5.7.0 Authentication required")
            return
        self._sender, self._options = _path(line)
        self.reply("250 2.1.0 Ok")

    def _usual_rcpt(self, line: str) -> None:
        if self._sender is None and not self._has_replied:
            self.reply("503 5.5.1 Need MAIL before RCPT")
            return
        self._recipients.append(_path(line)[0])
        self.reply("250 2.1.5 Ok")

    def _usual_data(self, line: str) -> None:
        if not self._recipients and not self._has_replied:
            self.reply("503 5.5.1 No valid recipients")
            return
        self.reply("354 End data with <CR><LF>.<CR><LF>")
        self._take_body()

    def _usual_rset(self, line: str) -> None:
        self._forget_mail()
        self.reply("250 2.0.0 Ok")

    def _usual_noop(self, line: str) -> None:
        self.reply("250 2.0.0 Ok")

    def _usual_quit(self, line: str) -> None:
        self._hangs_up = True
        self.reply("221 2.0.0 Bye")

    def _usual_unknown(self, line: str) -> None:
        self.reply("500 5.5.2 Command unrecognized")

    def _take_body(self) -> None:
        """Read the content up to the lone dot and reply, even if the client has already gone."""
        data = self._read_body()
        mail = self._unanswered = Mail(self._sender or "", tuple(self._recipients), self._options, data, self.number)
        self._forget_mail()
        try:
            addresses = " ".join([mail.sender, *mail.recipients])
            self._at("BODY", addresses, functools.partial(self.reply, "250 2.0.0 Ok: queued"))
        finally:
            if self._unanswered is not None:
                self.server.record(self._unanswered)
                self._unanswered = None

    def _forget_mail(self) -> None:
        self._sender = None
        self._options = ""
        self._recipients: list[str] = []

    def _challenge(self, text: str) -> str:
        self.reply(f"334 {text}")
        return self._read_line()

    def _encrypt(self, context: ssl.SSLContext) -> None:
        self._flush()
        self._socket.settimeout(PATIENCE)
        self._socket = context.wrap_socket(self._socket, server_side=True)
        self._socket.settimeout(None)
        self.encrypted = True

    def _read_or_leave(self, idle: Idle) -> str:
        self._socket.settimeout(idle.seconds)
        try:
            return self._read_line()
        except TimeoutError:
            pass
        finally:
            self._socket.settimeout(None)
        if idle.farewell:
            self._socket.sendall(f"{idle.farewell}\r\n".encode())
        if not idle.stays:
            if idle.resets:
                self.resets_at_end()
            raise Hangup
        self.farewell_said = True
        self.server.notify()
        return self._read_line()

    def _read_line(self) -> str:
        return self._read_to(b"\r\n").decode()

    def _read_body(self) -> bytes:
        lines: list[bytes] = []
        while (line := self._read_to(b"\r\n")) != b".":
            lines.append(line.removeprefix(b"."))
        return b"".join(line + b"\r\n" for line in lines)

    def _read_to(self, end: bytes) -> bytes:
        while (found := self._unread.find(end)) < 0:
            self._flush()
            chunk = self._socket.recv(65536)
            if not chunk:
                raise Hangup
            self.round_trips += self._has_answered
            self._has_answered = False
            self._unread += chunk
        line = bytes(self._unread[:found])
        del self._unread[: found + len(end)]
        return line

    def _flush(self) -> None:
        if self._unsent:
            self._has_answered = True
            unsent, self._unsent = self._unsent, b""
            self._socket.sendall(unsent)


def _path(line: str) -> tuple[str, str]:
    """The address and the parameters of MAIL FROM or RCPT TO."""
    match = re.fullmatch(r"\w+ \w+:<(.*?)>(.*)", line)
    if match is None:
        raise ValueError(f"the client sent {line!r}")
    return match[1], match[2].strip()


def _decode(proof: str) -> str:
    return base64.b64decode(proof).decode()
