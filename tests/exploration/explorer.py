"""Visits every reachable world breadth-first, and runs each of them to its end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shared.delivery.model import AT_REST
from tests.exploration.checks import Violation, check_end
from tests.exploration.model import Model
from tests.exploration.world import TICK, Answer, World, state_of

#: More steps than any path to the end has.
_PATIENCE = 300


class Counterexample(Exception):
    """A shortest path to a world that breaks an invariant."""


@dataclass(frozen=True, slots=True)
class Explored:
    """The size of an exploration."""

    states: int
    transitions: int

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.transitions:,} transitions"


class Explorer:
    """Visits every world that is reachable from `start` under `model`."""

    def __init__(self, model: Model, start: World) -> None:
        self._model = model
        self._start = model.begin(start).canonical()
        self._came_from: dict[World, tuple[World, str] | None] = {self._start: None}
        self._end_well: set[tuple[Answer, World]] = set()

    def run(self) -> Explored:
        """Explore everything; raises `Counterexample`."""
        waiting, transitions = deque([self._start]), 0
        while waiting:
            world = waiting.popleft()
            for label, found in self._next(world):
                transitions += 1
                following = found.canonical()
                if following not in self._came_from:
                    self._came_from[following] = (world, label)
                    waiting.append(following)
        return Explored(len(self._came_from), transitions)

    def _next(self, world: World) -> list[tuple[str, World]]:
        try:
            for answer in (Answer.ACCEPTED, Answer.NOT_NOW):
                self._check_that_it_ends(world, answer)
            return list(self._model.steps(world))
        except Violation as violation:
            raise Counterexample(f"{violation}, after: {' → '.join(self._way_to(world))}") from violation

    def _way_to(self, world: World) -> list[str]:
        labels = []
        while origin := self._came_from[world]:
            world, label = origin
            labels.append(label)
        return labels[::-1]

    def _check_that_it_ends(self, world: World, answer: Answer) -> None:
        """Check that `world` ends well if there are no more failures and mail servers always give `answer`."""
        way = []
        while (answer, world) not in self._end_well:
            way.append(world)
            following = self._calmly(world, answer)
            if following is None:
                check_end(world, self._model.policy)
                break
            if len(way) > _PATIENCE:
                raise Violation(f"never ends (mail servers say {answer.name})")
            world = following.canonical()
        self._end_well.update((answer, each) for each in way)

    def _calmly(self, world: World, answer: Answer) -> World | None:
        """Firepost's next step without failures; if it can only wait, time passes. None at the end.

        No pause lasts for ever.
        """
        if world.paused:
            return world._replace(paused=False)
        for label, following in self._model.progress(world, (answer,)):
            if label != "message" or self._model.can_work_off(world):
                return following
        if world.messages == 0 and (world.document is None or state_of(world.document) in AT_REST):
            return None
        return world._replace(now=world.now + TICK)
