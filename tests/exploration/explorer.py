"""Visits every reachable world breadth-first, and runs each of them to its end."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.delivery.model import AT_REST
from tests.exploration.checks import Violation, check_end
from tests.exploration.model import Model, Steps
from tests.exploration.world import TICK, Answer, World, state_of

#: More steps than any path to the end has.
_PATIENCE = 300

#: What mail servers answer, one always or the other, when nothing fails any more.
CALM = (Answer.ACCEPTED, Answer.NOT_NOW)
_OTHERS = {answer: {f"server: {other.name}" for other in Answer if other is not answer} for answer in CALM}


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
        #: The worlds after visited ones, as `_calmly` finds them; it is not asked again.
        self._calm: dict[tuple[Answer, World], World] = {}
        self._end_well: set[tuple[Answer, World]] = set()

    def run(self) -> Explored:
        """Explore everything; raises `Counterexample`."""
        gc.disable()  # it would go through all worlds again and again, and they have no cycles
        try:
            return self._explore()
        finally:
            gc.enable()

    def _explore(self) -> Explored:
        waiting, transitions = deque([self._start]), 0
        while waiting:
            world = waiting.popleft()
            with self._told(world):
                steps = self._next(world)
            for label, following in steps:
                transitions += 1
                if following not in self._came_from:
                    self._came_from[following] = (world, label)
                    waiting.append(following)
        for world in self._came_from:
            with self._told(world):
                self._check_that_it_ends(world)
        return Explored(len(self._came_from), transitions)

    @contextmanager
    def _told(self, world: World) -> Iterator[None]:
        try:
            yield
        except Violation as violation:
            raise Counterexample(f"{violation}, after: {' → '.join(self._way_to(world))}") from violation

    def _way_to(self, world: World) -> list[str]:
        labels = []
        while origin := self._came_from[world]:
            world, label = origin
            labels.append(label)
        return labels[::-1]

    def _next(self, world: World) -> list[tuple[str, World]]:
        """All possible steps. A world that waits for time, or for nothing, is run to its end at once."""
        progress = [(label, following.canonical()) for label, following in self._model.progress(world)]
        for answer in CALM:
            following = self._first(progress, world, answer)
            if following is None:
                self._check_that_it_ends(world)
            else:
                self._calm[answer, world] = following
        return progress + [(label, following.canonical()) for label, following in self._model.interference(world)]

    def _check_that_it_ends(self, start: World) -> None:
        """Check that a world ends well if there are no more failures and mail servers always give the same answer."""
        for answer in CALM:
            world, way = start, []
            while (answer, world) not in self._end_well:
                way.append((answer, world))
                following = self._calmly(world, answer)
                if following is None:
                    check_end(world, self._model.policy)
                    break
                if len(way) > _PATIENCE:
                    raise Violation(f"never ends (mail servers say {answer.name})")
                world = following
            self._end_well.update(way)

    def _calmly(self, world: World, answer: Answer) -> World | None:
        """Firepost's next step without failures; if it can only wait, time passes. None at the end."""
        if known := self._calm.get((answer, world)):
            return known
        if following := self._first(self._model.progress(world), world, answer):
            return following.canonical()
        if world.messages == 0 and (world.document is None or state_of(world.document) in AT_REST):
            return None
        return world._replace(now=world.now + TICK).canonical()

    def _first(self, progress: Steps, world: World, answer: Answer) -> World | None:
        """The first of these steps that takes `world` further if mail servers say `answer`. No pause lasts for ever."""
        if world.paused:
            return world._replace(paused=False)
        for label, following in progress:
            if label not in _OTHERS[answer] and (label != "message" or self._model.can_work_off(world)):
                return following
        return None
