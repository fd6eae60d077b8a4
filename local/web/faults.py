"""Faults on demand: the page at `/faults`, and `/api/faults`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue

from local.errors import CannotStart
from local.inbox import InboxFault
from local.switches import Switches
from local.web import parameters

#: What the page offers for the inbox, in words.
INBOX_FAULTS = {
    InboxFault.NONE: "Take every mail",
    InboxFault.REFUSE: "Refuse every recipient (550)",
    InboxFault.LATER: "Put off every recipient (450)",
    InboxFault.DELAY: "Answer late",
    InboxFault.DROP: "Hang up before the content: surely not sent",
    InboxFault.LOSE_REPLY: "Take the mail and hang up without an answer: unknown outcome",
    InboxFault.DOWN: "Be down: refuse connections",
}
#: What the page offers for the backend; any other can be written beside them.
BACKEND_FAULTS = {
    "events:duplicate@0.3": "A third of the events come twice",
    "events:delay=5": "Events come 5 s late",
    "events:drop@0.3": "A third of the events are lost at first",
    "pushes:duplicate@0.3": "A third of the messages come twice",
    "pushes:reorder@0.3": "Messages overtake each other",
    "pushes:drop@0.3": "A third of the messages are lost at first",
    "Commit:lose-response@0.1": "One in ten commits is done, but its answer is lost",
    "BatchWrite:fail=ABORTED@0.2": "One in five batches of writes is aborted",
    "Publish:fail=UNAVAILABLE@0.3": "A third of all publishing fails",
    "*:delay=0.5": "Every call of Firestore and Pub/Sub takes half a second longer",
}


def fault_pages(switches: Switches) -> Blueprint:
    """The page and the API."""
    pages = Blueprint("faults", __name__)

    def current() -> dict[str, Any]:
        return {
            "inbox": switches.inbox.fault.value,
            "delay": switches.inbox.delay,
            "faults": list(switches.specs),
            "counts": dict(switches.counts),
        }

    @pages.get("/faults")
    def page() -> ResponseReturnValue:
        return render_template(
            "faults.html",
            now=current(),
            inbox_faults=INBOX_FAULTS,
            backend_faults=BACKEND_FAULTS,
            others=[spec for spec in switches.specs if spec not in BACKEND_FAULTS],
            has_backend=switches.has_backend,
        )

    @pages.get("/api/faults")
    def show() -> ResponseReturnValue:
        return current()

    @pages.put("/api/faults")
    def change() -> ResponseReturnValue:
        wish = read_wish(parameters.body())
        try:
            if wish.faults is not None:
                switches.set_backend(wish.faults)
            if wish.inbox is not None:
                switches.set_inbox(wish.inbox, wish.delay)
        except ValueError as error:
            abort(400, str(error))
        except CannotStart as error:
            abort(409, str(error))
        return current()

    return pages


@dataclass(frozen=True, slots=True)
class Wish:
    """What to change: the inbox's fault with its delay in seconds, and all of the backend's; None is left as it is."""

    inbox: str | None
    delay: float
    faults: list[str] | None


def read_wish(body: Mapping[str, Any]) -> Wish:
    """Read the JSON of `PUT /api/faults`; what has the wrong type is answered 400."""
    inbox, delay, faults = body.get("inbox"), body.get("delay", 0), body.get("faults")
    if unknown := set(body) - {"inbox", "delay", "faults"}:
        abort(400, f"Expected inbox, delay and faults, found {min(unknown)}.")
    if not isinstance(inbox, str | None):
        abort(400, "inbox: expected a word.")
    if not isinstance(delay, int | float):
        abort(400, "delay: expected seconds.")
    if faults is not None and not (isinstance(faults, list) and all(isinstance(spec, str) for spec in faults)):
        abort(400, "faults: expected a list of texts such as events:duplicate@0.3.")
    return Wish(inbox, delay, None if faults is None else [spec.strip() for spec in faults if spec.strip()])
