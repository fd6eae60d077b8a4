"""Replaying: the order of the steps, and which documents are set to RETRY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from cli.dead_letters import Replayer, Wanted, _replay
from cli.exits import Unreachable
from cli.mail import Mail
from cli.mailbox import Mailbox
from cli.output import Output
from cli.subscription import browsing
from shared.delivery.model import State
from shared.errors import Unavailable
from shared.pubsub.letters import Letter
from tests.unit.cli.builders import letter, mail
from tests.unit.cli.test_subscription import Deliveries

BY_PUBSUB = {"CloudPubSubDeadLetterSourceDeliveryCount": "100"}
ABOUT_A = b'{"document": "mail/a"}'
GIVEN_UP = mail("mail/a", state="ERROR", errorCode="dead-letter")


class World(Deliveries):
    """A topic, a collection and a subscription that record all operations in one list."""

    def __init__(self, *letters: Letter, document: Mail | None = None, topic_works: bool = True) -> None:
        super().__init__(letters)
        self.document = document
        self.topic_works = topic_works
        self.failure: Unreachable | None = None
        self.log: list[str] = []

    def publish(self, data: bytes, attributes: Mapping[str, str]) -> None:
        if not self.topic_works:
            raise Unavailable("no")
        self.log.append(f"publish {data.decode()}")

    def get(self, path: str) -> Mail | None:
        return self.document if self.document and self.document.path == path else None

    def set_state(self, mails: Sequence[Mail], state: State) -> list[str | Unreachable | None]:
        self.log += [f"retry {each.path}" for each in mails]
        return [self.failure for _ in mails]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        self.log += [f"acknowledge {each}" for each in ack_ids]

    def replay(self, wanted: Wanted) -> set[str]:
        replayer = Replayer(self, cast(Mailbox, self), "mail")
        with browsing(self) as browser:
            return _replay(browser, wanted, replayer, "mail", Output(as_json=True))


ALL = Wanted(frozenset(), frozenset())


def test_a_letter_is_acknowledged_when_all_else_is_done() -> None:
    world = World(letter(BY_PUBSUB, ABOUT_A), document=GIVEN_UP)
    assert world.replay(ALL) == {"1"}
    assert world.log == [f"publish {ABOUT_A.decode()}", "retry mail/a", "acknowledge ack-1"]


def test_a_letter_that_could_not_be_published_stays() -> None:
    world = World(letter(data=ABOUT_A), topic_works=False)
    with pytest.raises(Unavailable):
        world.replay(ALL)
    assert (world.log, world.released) == ([], ["ack-1"])


def test_a_letter_whose_document_could_not_be_set_stays() -> None:
    world = World(letter(BY_PUBSUB, ABOUT_A), document=GIVEN_UP)
    world.failure = Unreachable("no")
    with pytest.raises(Unreachable):
        world.replay(ALL)
    assert (world.log[1:], world.released) == (["retry mail/a"], ["ack-1"])


@pytest.mark.parametrize(
    ("attributes", "document"),
    [
        pytest.param(BY_PUBSUB, None, id="no-document"),
        pytest.param(BY_PUBSUB, mail("mail/a", state="ERROR", errorCode="auth"), id="failed-for-another-reason"),
        pytest.param(BY_PUBSUB, mail("mail/a", state="PENDING", errorCode="dead-letter"), id="queued-again"),
        pytest.param({"reason": "unwritable", "error": "x"}, GIVEN_UP, id="refused-by-the-sender"),
    ],
)
def test_no_other_document_is_set_to_retry(attributes: dict[str, str], document: Mail | None) -> None:
    world = World(letter(attributes, ABOUT_A), document=document)
    world.replay(ALL)
    assert world.log == [f"publish {ABOUT_A.decode()}", "acknowledge ack-1"]


@pytest.mark.parametrize(
    ("ids", "reasons", "replayed"),
    [
        pytest.param((), (), {"1", "2", "3"}, id="all"),
        pytest.param(("2",), (), {"2"}, id="by-id"),
        pytest.param((), ("not-json",), {"1", "3"}, id="by-reason"),
        pytest.param(("1", "2"), ("not-json",), {"1"}, id="by-both"),
    ],
)
def test_only_selected_dead_letters_are_replayed(
    ids: tuple[str, ...], reasons: tuple[str, ...], replayed: set[str]
) -> None:
    letters = [
        letter({"reason": reason, "error": "x"}, identifier=identifier)
        for identifier, reason in {"1": "not-json", "2": "wrong-shape", "3": "not-json"}.items()
    ]
    world = World(*letters)
    assert world.replay(Wanted(frozenset(ids), frozenset(reasons))) == replayed
    assert sorted(world.released) == sorted({"ack-1", "ack-2", "ack-3"} - {f"ack-{each}" for each in replayed})
