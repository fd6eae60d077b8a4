"""Fail-over: another transport takes a mail that is surely not sent, and only one whose author it may send for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from sender.transport.breaker import HeldBack
from sender.transport.envelope import Envelope, Receipt, once
from sender.transport.routing import Failover, RoutedTransport, may_fail_over
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.deadline import Deadline
from shared.errors import (
    Deferred,
    DeliveryFailed,
    ErrorCode,
    NotSendable,
    NotSent,
    Outage,
    OutcomeUnknown,
    Paused,
    Unavailable,
)
from tests.assembly import PATIENCE
from tests.smtp_server import ScriptedServer
from tests.unit.sender.transport.builders import ANA, BOB, DATA, server_at

LIMITS = SmtpLimits(data_margin=0.0)
DOMAINS = frozenset({"shop.example", "*.shop.example"})


class Servers:
    """A mail server, the one that it fails over to, and a transport to both."""

    def __init__(self) -> None:
        self.first, self.other = ScriptedServer(), ScriptedServer()
        self.begun = 0
        self.paused: set[str] = set()

    def connect(self) -> None:
        transports = {name: SmtpTransport(server_at(each), LIMITS) for name, each in self.by_name().items()}
        self.transport = RoutedTransport(transports, {"first": Failover("other", DOMAINS)}, self.check)

    def check(self, name: str) -> None:
        if name in self.paused:
            raise Paused(name)

    def by_name(self) -> dict[str, ScriptedServer]:
        return {"first": self.first, "other": self.other}

    def send(self, author: str = "news@shop.example", by: str = "first", *recipients: str) -> Receipt:
        envelope = Envelope(author, recipients or (ANA,), transport=by)
        return self.transport.send(envelope, DATA, Deadline.after(5), once(self.begin))

    def begin(self) -> None:
        self.begun += 1

    @property
    def taken(self) -> tuple[int, int]:
        return len(self.first.accepted), len(self.other.accepted)


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers()
    with ExitStack() as running:
        running.enter_context(servers.first)
        running.enter_context(servers.other)
        servers.connect()
        yield servers
        servers.transport.close()


def test_a_paused_transport_takes_over_nothing(servers: Servers) -> None:
    servers.first.when("CONNECT").drop()
    servers.paused.add("other")
    with pytest.raises(Outage):
        servers.send()
    assert servers.other.commands == []


def test_a_pause_while_it_takes_over_is_noticed_before_it_begins(servers: Servers) -> None:
    servers.first.when("CONNECT").drop()
    stall = servers.other.when("EHLO").stall()
    with ThreadPoolExecutor(1) as one:
        running = one.submit(servers.send)
        assert stall.reached.wait(PATIENCE)
        servers.paused.add("other")
        stall.release()
        with pytest.raises(Outage):
            running.result(PATIENCE)
    assert (servers.begun, servers.taken) == (0, (0, 0))


Script = Callable[[ScriptedServer], object]

FAULTS = [
    pytest.param(lambda s: s.when("CONNECT").drop(), id="out"),
    pytest.param(lambda s: s.when("CONNECT").reply("421 4.3.2 Too many connections"), id="full"),
    pytest.param(lambda s: s.when("CONNECT").reply("554 5.7.1 You are blocked"), id="blocked"),
    pytest.param(lambda s: s.when("MAIL").drop(), id="lost before the content"),
    pytest.param(lambda s: s.when("RCPT").reply("450 4.7.1 Slow down"), id="throttled"),
    pytest.param(lambda s: s.when("MAIL").reply("530 5.7.0 Log in first"), id="no login"),
    pytest.param(lambda s: s.when("BODY").reply("452 4.3.1 Too many messages, slow down"), id="throttled at the end"),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mail_that_is_surely_not_sent_goes_through_the_other(servers: Servers, fault: Script) -> None:
    fault(servers.first)
    receipt = servers.send()
    assert (receipt.accepted, receipt.transport) == ((ANA,), "other")
    assert (servers.taken, servers.begun) == ((0, 1), 1)


def test_while_the_breaker_is_open_it_does_so_at_once(servers: Servers) -> None:
    servers.first.when("CONNECT").drop()
    for _ in range(6):
        servers.send()
    assert (len(servers.first.sessions), servers.taken) == (3, (0, 6))


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        pytest.param(lambda s: s.when("BODY").drop(), OutcomeUnknown, id="unknown"),
        pytest.param(lambda s: s.when("BODY").reply("354 Go on"), OutcomeUnknown, id="an odd answer to the mail"),
        pytest.param(lambda s: s.when("RCPT").reply("550 5.1.1 No such user"), NotSent, id="refused"),
        pytest.param(lambda s: s.when("RCPT").reply("451 4.3.0 Later"), NotSent, id="put off"),
        pytest.param(lambda s: s.when("BODY").reply("554 5.7.1 Spam"), NotSent, id="spam"),
    ],
)
def test_nothing_else_does(servers: Servers, fault: Script, error: type[Exception]) -> None:
    fault(servers.first)
    with pytest.raises(error):
        servers.send()
    assert servers.other.sessions == []


def test_a_mail_that_some_recipients_got_stays(servers: Servers) -> None:
    servers.first.when("RCPT", BOB).reply("450 4.7.1 Slow down")
    receipt = servers.send("news@shop.example", "first", ANA, BOB)
    assert (receipt.accepted, receipt.pending, receipt.transport) == ((ANA,), (BOB,), None)
    assert servers.other.sessions == []


def test_recipients_that_were_refused_for_good_are_not_asked_for_again(servers: Servers) -> None:
    servers.first.when("RCPT", ANA).reply("550 5.1.1 No such user")
    servers.first.when("RCPT", BOB).reply("450 4.7.1 Slow down")
    with pytest.raises(NotSent) as caught:
        servers.send("news@shop.example", "first", ANA, BOB)
    assert caught.value.rejected == (ANA,)
    assert servers.other.sessions == []


@pytest.mark.parametrize(
    ("author", "taken"),
    [("a@shop.example", 1), ("a@mail.SHOP.example", 1), ("a@other.example", 0), ("a@notshop.example", 0)],
)
def test_only_for_authors_that_the_other_may_send_for(servers: Servers, author: str, taken: int) -> None:
    servers.first.when("CONNECT").drop()
    if taken:
        servers.send(author)
    else:
        with pytest.raises(Outage):
            servers.send(author)
    assert servers.taken == (0, taken)


def test_there_is_no_way_back(servers: Servers) -> None:
    servers.other.when("CONNECT").drop()
    with pytest.raises(Outage):
        servers.send(by="other")
    assert servers.first.sessions == []


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda s: s.when("CONNECT").drop(), id="out"),
        pytest.param(lambda s: s.when("MAIL").reply("550 5.7.1 Not your domain"), id="refused"),
    ],
)
def test_if_both_fail_the_first_ones_error_counts(servers: Servers, fault: Script) -> None:
    servers.first.when("CONNECT").reply("421 4.3.2 Closed for repair")
    fault(servers.other)
    with pytest.raises(Outage, match="Closed for repair") as caught:
        servers.send()
    assert caught.value.transport is None


def test_if_the_other_ones_answer_is_lost_the_outcome_is_unknown_and_says_whose(servers: Servers) -> None:
    servers.first.when("CONNECT").drop()
    servers.other.when("BODY").drop()
    with pytest.raises(OutcomeUnknown) as caught:
        servers.send()
    assert caught.value.transport == "other"


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (HeldBack(5.0, "throttling"), True),
        (Deferred(5.0, "busy"), False),
        (Deferred(None, "The claim does not own the document any more."), False),
        (Outage(ErrorCode.AUTH, "?"), True),
        (Outage(ErrorCode.REJECTED, "?"), True),
        *((NotSent(code, "?"), code in ("connection", "throttled", "auth")) for code in ErrorCode),
        (OutcomeUnknown("?"), False),
        (NotSendable(ErrorCode.VALIDATION, "?"), False),
        (DeliveryFailed(ErrorCode.CONNECTION, "?"), False),
        (Unavailable(), False),
        (RuntimeError("a bug"), False),
    ],
)
def test_after_what_another_transport_may_be_tried(failure: Exception, expected: bool) -> None:
    assert may_fail_over(failure) is expected
