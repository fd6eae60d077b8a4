"""A class of hostile input, and how it is run."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.fuzz.generators import Generator
from tests.patience import patience

#: The longest that one input may take, in seconds. Most take less than a millisecond, those with a server some more.
LONGEST_SECONDS = patience(5.0)

#: Checks one input; raises any exception if something does not hold.
Check = Callable[[Any], None]


@dataclass(frozen=True)
class Kind:
    """A class of input: what may come in, what must hold for it, and the check of that.

    `checking` opens what the check needs, such as a server, for as long as inputs are tried. `few` is the number of
    inputs that `make test` tries.
    """

    name: str
    must: str
    inputs: Generator[Any]
    checking: Callable[[], AbstractContextManager[Check]]
    few: int = 100


@dataclass(frozen=True)
class Tally:
    """What came of the inputs so far: their number, the slowest one's seconds, and the failure of the last, if any."""

    inputs: int = 0
    slowest: float = 0.0
    failure: str = ""


def pure(check: Check) -> Callable[[], AbstractContextManager[Check]]:
    """The `checking` of a check that needs nothing."""
    return lambda: contextlib.nullcontext(check)


def run(kind: Kind, first_seed: int) -> Iterator[Tally]:
    """Try one input after the other until one fails; yields the tally after each.

    The first input is made from `first_seed`, and each other one from the number after that of the one before it.
    """
    tally = Tally()
    with kind.checking() as check:
        while not tally.failure:
            given = kind.inputs(Random(f"{kind.name}/{first_seed + tally.inputs}"))
            began = time.perf_counter()
            failure = _failure(check, given)
            seconds = time.perf_counter() - began
            if not failure and seconds > LONGEST_SECONDS:
                failure = f"{given!a:.2000}\nIt took {seconds:.1f} s."
            tally = Tally(tally.inputs + 1, max(tally.slowest, seconds), failure)
            yield tally


def _failure(check: Check, given: Any) -> str:
    """The input with the error that it leads to; empty if there is none."""
    try:
        check(given)
    except Exception as error:
        lines = "".join(traceback.format_exception(error, limit=-6))
        return f"{given!r:.2000}\n{lines}".encode(errors="backslashreplace").decode()
    return ""
