"""`python -m bench.standin publish|take|ignore`: an empty handler in the place of a service.

With `publish` in place of the dispatcher and `take` in place of the sender, the time between a document's write and the
message's arrival is the emulators' own.

    publish   publishes a message for every event at once, and does nothing else
    take      records when each message arrived, in a ledger on CONTROL_PORT
    ignore    does nothing

Configured like the services: PORT, MAIL_TOPIC, GOOGLE_CLOUD_PROJECT, PUBSUB_EMULATOR_HOST.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import click
from google.pubsub_v1.services.publisher import PublisherClient
from google.pubsub_v1.types import PubsubMessage

from bench.ledger import Report, serve_in_thread
from local.clients import publisher_client
from local.ports import LOOPBACK
from local.topics import topic_path
from shared.pubsub import message

Handle = Callable[[Mapping[str, str], bytes], None]


def publish(client: PublisherClient, topic: str, headers: Mapping[str, str], body: bytes) -> None:
    """Publish the document's path, taken from the CloudEvent's subject."""
    data, attributes = message.encode(headers["ce-subject"].removeprefix("documents/"), "new")
    client.publish(topic=topic, messages=[PubsubMessage(data=data, attributes=attributes)])


def take(report: Report, headers: Mapping[str, str], body: bytes) -> None:
    """Record the document of a push, under its name."""
    path = json.loads(body)["message"]["attributes"]["document"]
    report.taken.append((path.rpartition("/")[2], time.time()))


def ignore(headers: Mapping[str, str], body: bytes) -> None:
    """Do nothing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    handle_post: Handle

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.handle_post({name.lower(): value for name, value in self.headers.items()}, body)
        self._ok()

    def do_GET(self) -> None:
        self._ok()

    def _ok(self) -> None:
        self.send_response_only(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@click.command()
@click.argument("what", type=click.Choice(["publish", "take", "ignore"]))
def main(what: str) -> None:
    """Serve on PORT."""
    handle: Handle = ignore
    if what == "publish":
        topic = topic_path(os.environ["GOOGLE_CLOUD_PROJECT"], os.environ["MAIL_TOPIC"])
        handle = partial(publish, publisher_client(os.environ["PUBSUB_EMULATOR_HOST"]), topic)
    elif what == "take":
        report = Report()
        serve_in_thread(report, int(os.environ["CONTROL_PORT"]))
        handle = partial(take, report)
    handler = type("Handler", (_Handler,), {"handle_post": staticmethod(handle)})
    with ThreadingHTTPServer((LOOPBACK, int(os.environ["PORT"])), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
