"""Two mail servers, one of which hangs: mails claimed for it must not delay those for the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from sender.factory import routed_encoder
from sender.message.compose import encode_mime
from sender.transport.envelope import DEFAULT_TRANSPORT
from sender.transport.routing import RoutedTransport, Routes
from sender.transport.smtp.transport import SmtpLimits, SmtpTransport
from shared.pubsub.push import ReceivedMessage
from tests.assembly import COMPOSER, PATIENCE, SenderParts, limits
from tests.fakes import MemoryDatabase
from tests.patience import patience
from tests.smtp_server import ScriptedServer
from tests.unit.sender.transport.builders import server_at

#: One connection to each server; a claimed mail waits for it for up to `turn_seconds`.
LIMITS = SmtpLimits(max_connections=1, data_margin=0.0, turn_seconds=patience(0.3))


@pytest.fixture
def servers() -> Iterator[dict[str, ScriptedServer]]:
    with ScriptedServer() as fast, ScriptedServer() as slow:
        yield {DEFAULT_TRANSPORT: fast, "slow": slow}


def test_mails_for_a_server_that_hangs_are_deferred_and_others_sent(servers: dict[str, ScriptedServer]) -> None:
    stall = servers["slow"].when("BODY").stall()
    transports = {name: SmtpTransport(server_at(server), LIMITS) for name, server in servers.items()}
    database = MemoryDatabase()
    write = routed_encoder(Routes.of({"slow": frozenset()}), dict.fromkeys(servers, encode_mime))
    parts = SenderParts(
        database=database,
        transport=RoutedTransport(transports),
        compose=replace(COMPOSER, encode=write),
        limits=limits(claimed=4),
    )
    with closing(parts.transport), ThreadPoolExecutor(8) as threads:
        sender = parts.sender()

        def handle(name: str) -> str:
            transport = {"transport": "slow"} if "slow" in name else {}
            database.put(f"mail/{name}", {"to": "a@b.c", "message": {"subject": "s", "text": "t"}, **transport})
            return sender.handle(ReceivedMessage(json.dumps({"document": f"mail/{name}"}).encode(), {}, "77")).reason

        hanging = threads.submit(handle, "slow-0")
        assert stall.reached.wait(PATIENCE)
        waiting = [threads.submit(handle, f"slow-{number}") for number in range(1, 6)]
        others = [threads.submit(handle, f"fast-{number}") for number in range(5)]
        assert [each.result(PATIENCE) for each in others] == ["sent"] * 5
        assert [each.result(PATIENCE) for each in waiting] == ["deferred"] * 5
        assert {database.documents[f"mail/slow-{number}"].fields["delivery"]["attempts"] for number in range(1, 6)} == {
            0
        }
        stall.release()
        assert hanging.result(PATIENCE) == "sent"
