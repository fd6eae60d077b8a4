"""Plays the stories on a running stack."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.cloud import firestore
from google.pubsub_v1.types import PubsubMessage

from local.clients import firestore_client, publisher_client
from local.demo.board import Board
from local.demo.scenario import MailServer, Outcome, Publish, Step, Story, Update, Write, differences, is_settled
from local.mailstore import Mail
from local.stack import Stack
from local.topics import topic_path
from local.waiting import wait_until

#: Seconds within which a document must end in SUCCESS or ERROR.
OUTCOME_SECONDS = 15.0
#: Short, to see the states that a document passes through.
LOOK_SECONDS = 0.01


def play(stack: Stack, stories: Sequence[Story], board: Board) -> list[str]:
    """Play all stories, one after the other; returns the deviations from the expected outcomes.

    Raises `PartFailed` if the stack fails meanwhile.
    """
    client = firestore_client(stack.ready["firestore"], stack.options.project)
    try:
        wrong = [text for story in stories for text in _Player(stack, client, story, board).play()]
    finally:
        client.close()
    return wrong + miscounted(stories, stack.inbox.store.mails())


def miscounted(stories: Iterable[Story], mails: Iterable[Mail]) -> list[str]:
    """The stories for which `mails` contains the wrong number of copies."""
    counts = Counter(mail.subject for mail in mails)
    return [
        f"{story.id}: {counts[story.subject]} mails received instead of {story.mails}"
        for story in stories
        if counts[story.subject] != story.mails
    ]


class _Player:
    """One story being played."""

    def __init__(self, stack: Stack, client: firestore.Client, story: Story, board: Board) -> None:
        self._stack = stack
        self._story = story
        self._board = board
        self._document = client.collection(stack.options.setting("MAIL_COLLECTION")).document(story.id)

    def play(self) -> list[str]:
        wrong = []
        for step in self._story.steps:
            self._board.say(step.say)
            self._act(step)
            if step.then is not None:
                wrong += [f"{self._story.id}: {text}" for text in self._await(step.then)]
        return wrong

    def _act(self, step: Step) -> None:
        match step.action:
            case Write(data):
                self._document.create(dict(data))
            case Update(fields):
                self._document.update(dict(fields))
            case Publish(mail):
                self._publish({"mail": mail, "id": self._story.id})
            case MailServer(up=True):
                self._stack.inbox.start()
            case MailServer(up=False):
                self._stack.inbox.stop()

    def _publish(self, data: Mapping[str, Any]) -> None:
        topic = topic_path(self._stack.options.project, self._stack.ready["topic"])
        with publisher_client(self._stack.ready["pubsub"]) as publisher:
            publisher.publish(topic=topic, messages=[PubsubMessage(data=json.dumps(data).encode())])

    def _await(self, expected: Outcome) -> list[str]:
        """Watch the document until its attempt has ended; returns the differences from `expected`."""
        delivery: Mapping[str, Any] = {}

        def look() -> bool:
            nonlocal delivery
            self._stack.check()
            delivery = (self._document.get().to_dict() or {}).get("delivery") or {}
            self._board.moved(self._story.id, delivery)
            return is_settled(expected, delivery)

        wait_until(look, OUTCOME_SECONDS, LOOK_SECONDS)
        return differences(expected, delivery)
