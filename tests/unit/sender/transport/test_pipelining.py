"""Behaviour specific to pipelining MAIL, RCPT and DATA (RFC 2920); test_connection.py covers the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sender.transport.envelope import Receipt
from sender.transport.smtp.commands import GROUP_BYTES
from sender.transport.smtp.connection import SmtpConnection
from sender.transport.smtp.replies import ConnectionSpent
from shared.deadline import Deadline
from shared.errors import ErrorCode, NotSent, OutcomeUnknown
from tests.smtp_server import EXTENSIONS, Mail, ScriptedServer, without
from tests.unit.sender.transport.builders import ANA, BOB, CLEO, DATA, connect, envelope, server_at, soon
from tests.unit.sender.transport.conftest import EITHER_WAY, StartServer

ALL = (ANA, BOB, CLEO)


def verbs(smtp: ScriptedServer) -> list[str]:
    """The verbs of the commands after EHLO."""
    return [command.split(" ")[0] for command in smtp.commands[1:]]


def really_sent(smtp: ScriptedServer) -> list[Mail]:
    """The mails with recipients; a lone dot that ends DATA without recipients does not count."""
    return [mail for mail in smtp.accepted if mail.recipients]


class TestRoundTrips:
    @pytest.mark.parametrize("replies_together", [False, True])
    def test_are_two_for_a_mail_however_many_recipients_it_has(
        self, start_server: StartServer, replies_together: bool
    ) -> None:
        smtp = start_server(replies_together=replies_together)
        connection = connect(server_at(smtp))
        before = smtp.sessions[0].round_trips
        for recipients in ((ANA,), ALL):
            connection.send(envelope(*recipients), DATA, soon(), 0)
        connection.quit()
        smtp.wait_until(lambda: smtp.sessions[0].ended)
        assert smtp.sessions[0].round_trips - before == 2 * 2 + 1  # plus one for QUIT
        assert verbs(smtp) == ["MAIL", "RCPT", "DATA", "MAIL", "RCPT", "RCPT", "RCPT", "DATA", "QUIT"]

    @pytest.mark.parametrize(
        ("extensions", "options"),
        [
            pytest.param(without("PIPELINING"), "", id="not offered"),
            pytest.param(EXTENSIONS, "?pipelining=false", id="switched off"),
        ],
    )
    def test_are_one_for_each_command_without_pipelining(
        self, start_server: StartServer, extensions: tuple[str, ...], options: str
    ) -> None:
        smtp = start_server(extensions=extensions)
        connection = connect(server_at(smtp, options))
        before = smtp.sessions[0].round_trips
        connection.send(envelope(*ALL), DATA, soon(), 0)
        connection.quit()
        smtp.wait_until(lambda: smtp.sessions[0].ended)
        assert smtp.sessions[0].round_trips - before == len(["MAIL", *ALL, "DATA", "body"]) + 1

    def test_grow_by_one_for_each_eight_kilobytes_of_recipients(self, smtp: ScriptedServer) -> None:
        many = [f"{'x' * 40}{number}@example.com" for number in range(1000)]
        connection = connect(server_at(smtp))
        before = smtp.sessions[0].round_trips
        assert connection.send(envelope(*many), DATA, soon(), 0).accepted == tuple(many)
        groups = math.ceil(sum(len(command) + 2 for command in smtp.commands[1:]) / (GROUP_BYTES - len(many[-1]) - 20))
        assert smtp.sessions[0].round_trips - before == groups + 1
        connection.close()


def refuse_mail(smtp: ScriptedServer) -> None:
    smtp.when("MAIL", nth=1).reply("550 5.7.1 Not you")


def refuse_all(smtp: ScriptedServer) -> None:
    smtp.when("RCPT", nth_in_session=1).reply("550 5.1.1 Unknown")


def refuse_all_and_wait_for_the_content(smtp: ScriptedServer) -> None:
    refuse_all(smtp)
    smtp.when("DATA", nth=1).reply("354 Go ahead")


def refuse_mail_and_wait_for_the_content(smtp: ScriptedServer) -> None:
    refuse_mail(smtp)
    smtp.when("DATA", nth=1).reply("354 Go ahead")


def refuse_data(smtp: ScriptedServer) -> None:
    smtp.when("DATA", nth=1).reply("451 4.3.0 Later")


def refuse_the_content(smtp: ScriptedServer) -> None:
    smtp.when("BODY", nth=1).reply("554 5.6.0 Spam")


class TestAfterARefusal:
    @pytest.mark.parametrize(
        ("script", "pipelined", "step_by_step"),
        [
            pytest.param(refuse_mail, "MAIL RCPT DATA", "MAIL", id="no transaction was started"),
            pytest.param(refuse_all, "MAIL RCPT DATA RSET", "MAIL RCPT RSET", id="no recipient"),
            pytest.param(refuse_all_and_wait_for_the_content, "MAIL RCPT DATA", "MAIL RCPT RSET", id="lone dot"),
            pytest.param(refuse_mail_and_wait_for_the_content, "MAIL RCPT DATA", "MAIL", id="lone dot without MAIL"),
            pytest.param(refuse_data, "MAIL RCPT DATA RSET", "MAIL RCPT DATA RSET", id="DATA refused"),
            pytest.param(refuse_the_content, "MAIL RCPT DATA", "MAIL RCPT DATA", id="content refused"),
        ],
    )
    @pytest.mark.parametrize("extensions", EITHER_WAY)
    def test_the_server_discards_the_mail_and_accepts_another_on_the_same_connection(
        self,
        start_server: StartServer,
        script: Callable[[ScriptedServer], None],
        pipelined: str,
        step_by_step: str,
        extensions: tuple[str, ...],
    ) -> None:
        smtp = start_server(extensions=extensions)
        script(smtp)
        connection = connect(server_at(smtp))
        with pytest.raises(NotSent):
            connection.send(envelope(), DATA, soon(), 0)
        assert verbs(smtp) == (pipelined if "PIPELINING" in extensions else step_by_step).split()
        assert really_sent(smtp) == []
        assert connection.usable
        connection.send(envelope(BOB), DATA, soon(), 0)
        assert [mail.recipients for mail in really_sent(smtp)] == [(BOB,)]
        connection.close()

    def test_a_server_that_refuses_the_lone_dot_has_discarded_the_mail_too(self, smtp: ScriptedServer) -> None:
        refuse_all_and_wait_for_the_content(smtp)
        smtp.when("BODY", nth=1).reply("554 5.5.1 No valid recipients")
        connection = connect(server_at(smtp))
        with pytest.raises(NotSent, match="Unknown"):
            connection.send(envelope(), DATA, soon(), 0)
        assert connection.send(envelope(BOB), DATA, soon(), 0).accepted == (BOB,)
        connection.close()

    def test_no_dot_is_sent_if_it_would_send_an_empty_mail(self, smtp: ScriptedServer) -> None:
        refuse_mail_and_wait_for_the_content(smtp)
        smtp.when("RCPT").reply("250 2.1.5 Ok")  # unexpected, as there is no mail
        connection = connect(server_at(smtp))
        with pytest.raises(NotSent, match="Not you"):
            connection.send(envelope(), DATA, soon(), 0)
        assert not connection.usable
        connection.close()
        smtp.wait_until(lambda: smtp.sessions[0].ended)
        assert smtp.mails == []

    @pytest.mark.parametrize("event", ["RCPT", "DATA", "RSET"])
    @pytest.mark.parametrize("manner", ["dropped", "421", "silence", "nonsense"])
    def test_an_error_while_aborting_does_not_hide_the_refusal(
        self, smtp: ScriptedServer, event: str, manner: str
    ) -> None:
        (refuse_mail if event == "RCPT" else refuse_all)(smtp)
        rule = smtp.when(event)
        if manner == "dropped":
            rule.drop()
        elif manner == "silence":
            rule.stall()
        else:
            rule.reply("421 4.3.2 Shutting down" if manner == "421" else "Hm?")
        connection = connect(server_at(smtp, "?socketTimeout=150"))
        with pytest.raises(NotSent, match=r"550 5\.[17]\.1"):
            connection.send(envelope(), DATA, soon(), 0)
        assert not connection.usable
        connection.close()


def test_a_timeout_with_pending_replies_closes_the_connection_before_the_dot(start_server: StartServer) -> None:
    smtp = start_server(replies_together=True)
    connection = connect(server_at(smtp))
    over_after_data = Deadline(10.0, lambda: 60.0 if "DATA" in smtp.commands else 0.0)
    with pytest.raises(NotSent, match="time ran out before") as caught:
        connection.send(envelope(), DATA, over_after_data, 0)
    assert caught.value.code is ErrorCode.TEMPORARY
    assert not connection.usable
    smtp.wait_until(lambda: smtp.sessions[0].ended)
    assert smtp.mails == []


def test_an_extra_reply_is_not_taken_for_the_next_one(smtp: ScriptedServer) -> None:
    smtp.when("RCPT", ANA).reply("250 2.1.5 Ok", "250 2.1.5 Ok, really")
    connection = connect(server_at(smtp))
    with pytest.raises(NotSent) as caught:
        connection.send(envelope(ANA), DATA, soon(), 0)
    assert caught.value.code is ErrorCode.CONNECTION
    assert not connection.usable
    smtp.wait_until(lambda: smtp.sessions[0].ended)
    assert smtp.mails == []


def test_no_content_is_sent_to_a_server_that_omits_a_reply(smtp: ScriptedServer) -> None:
    smtp.when("RCPT", BOB).reply()
    connection = connect(server_at(smtp, "?socketTimeout=150"))
    with pytest.raises(NotSent):
        connection.send(envelope(ANA, BOB), DATA, soon(), 0)
    assert not connection.usable
    smtp.wait_until(lambda: smtp.sessions[0].ended)
    assert smtp.mails == []


# The outcome of a mail must not depend on pipelining, whatever the server does.

DROP = "drop"
REPLIES = {
    "MAIL": ["250 2.1.0 Ok", "451 4.3.0 Later", "550 5.7.1 Not you", "530 5.7.0 Log in", "421 4.7.0 Busy", "nonsense"],
    "RCPT": ["250 2.1.5 Ok", "450 4.2.0 Greylisted", "550 5.1.1 Unknown", "421 4.7.0 Busy", "nonsense"],
    "DATA": ["354 Go ahead", "451 4.3.0 Later", "554 5.5.1 No", "421 4.7.0 Busy", "250 2.0.0 What?", "nonsense"],
    "BODY": ["250 2.0.0 Ok: queued", "452 4.3.1 Full", "554 5.6.0 Spam", "421 4.7.0 Busy", "354 More", "nonsense"],
}


def replies(event: str) -> st.SearchStrategy[str]:
    """The usual reply, another one, or a dropped connection."""
    return st.just(REPLIES[event][0]) | st.sampled_from([*REPLIES[event], DROP])


@dataclass(frozen=True)
class Script:
    """A server's replies to MAIL, to each recipient, to DATA and to the content."""

    mail: str
    recipients: tuple[str, ...]
    data: str
    body: str

    def set_up(self, smtp: ScriptedServer) -> None:
        smtp.forget_rules()
        steps = [("MAIL", "", self.mail), ("DATA", "", self.data), ("BODY", "", self.body)]
        steps += [("RCPT", address, reply) for address, reply in zip(ALL, self.recipients, strict=False)]
        for event, text, reply in steps:
            rule = smtp.when(event, text, session=len(smtp.sessions) + 1)
            if reply == DROP:
                rule.drop()
            else:
                rule.reply(reply)


SCRIPTS = st.builds(
    Script,
    mail=replies("MAIL"),
    recipients=st.lists(replies("RCPT"), min_size=1, max_size=len(ALL)).map(tuple),
    data=replies("DATA"),
    body=replies("BODY"),
)

Outcome = Receipt | tuple[type[Exception], ErrorCode, str, tuple[str, ...]]


def outcome_of(connection: SmtpConnection, recipients: tuple[str, ...]) -> Outcome:
    try:
        return connection.send(envelope(*recipients), DATA, soon(), 0)
    except (NotSent, OutcomeUnknown) as failure:
        rejected = failure.rejected if isinstance(failure, NotSent) else ()
        return type(failure), failure.code, str(failure), rejected


@pytest.fixture(params=[False, True], ids=["replies one by one", "replies together"])
def either(request: pytest.FixtureRequest, start_server: StartServer) -> ScriptedServer:
    return start_server(replies_together=request.param)


@pytest.mark.usefixtures("extra_replies_come_at_once")
@settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=SCRIPTS)
def test_the_outcome_is_the_same_with_and_without_pipelining(either: ScriptedServer, script: Script) -> None:
    outcomes, mails = [], []
    for options in ("", "?pipelining=false"):
        script.set_up(either)
        earlier = len(really_sent(either))
        connection = connect(server_at(either, options))
        outcomes.append(outcome_of(connection, ALL[: len(script.recipients)]))
        mails.append([mail.recipients for mail in really_sent(either)[earlier:]])
        either.forget_rules()
        if connection.usable:
            assert connection.send(envelope(BOB), DATA, soon(), 0).accepted == (BOB,)
        connection.close()
    assert outcomes[0] == outcomes[1]
    assert mails[0] == mails[1]
    if isinstance(outcomes[0], tuple) and issubclass(outcomes[0][0], ConnectionSpent):
        assert mails[0] == []
