"""Arrivals, recorded by their receiver and read by the benchmark over a control port.

A connection to that port sends one line and gets one line of JSON: `count` (mails so far), `report` (everything),
`reset`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from dataclasses import asdict, dataclass, field

from local.ports import LOOPBACK

_ANSWER_SECONDS = 30.0


@dataclass(slots=True)
class Report:
    """The arrivals since the last reset.

    `taken` are mails by name with the time (seconds since the epoch) at which the last byte arrived. A round trip is
    one answer that the client waited for, however many replies it contains; a connection's greeting is one.
    """

    taken: list[tuple[str, float]] = field(default_factory=list)
    connections: int = 0
    round_trips: int = 0

    def reset(self) -> None:
        """Start again from zero."""
        self.taken.clear()
        self.connections = self.round_trips = 0

    def answer(self, asked: str) -> str:
        """The answer of the control port to one command."""
        match asked:
            case "count":
                return json.dumps(len(self.taken))
            case "report":
                return json.dumps(asdict(self))
            case "reset":
                self.reset()
                return json.dumps("done")
        return json.dumps("expected count, report or reset")


async def serve(report: Report, port: int) -> asyncio.Server:
    """Serve `report` on the control port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = (await reader.readline()).decode().strip()
        writer.write(report.answer(asked).encode() + b"\n")
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, LOOPBACK, port)


def serve_in_thread(report: Report, port: int) -> None:
    """The same for a process without an event loop; ends with the process."""

    async def serve_for_ever() -> None:
        async with await serve(report, port) as server:
            await server.serve_forever()

    threading.Thread(target=asyncio.run, args=(serve_for_ever(),), name="ledger", daemon=True).start()


class Ledger:
    """Another process's report, over its control port."""

    def __init__(self, port: int) -> None:
        self._port = port

    def count(self) -> int:
        """How many mails have arrived."""
        return int(self._ask("count"))

    def report(self) -> Report:
        """All arrivals."""
        fields = json.loads(self._ask("report"))
        fields["taken"] = [(name, at) for name, at in fields["taken"]]
        return Report(**fields)

    def reset(self) -> None:
        """Start again from zero."""
        self._ask("reset")

    def _ask(self, what: str) -> str:
        address = (LOOPBACK, self._port)
        with socket.create_connection(address, timeout=_ANSWER_SECONDS) as link, link.makefile("rw") as lines:
            lines.write(f"{what}\n")
            lines.flush()
            return lines.readline()
