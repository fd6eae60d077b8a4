"""The mail documents: the pages `/console` and `/console/documents/ID`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue

from local.documents import KNOWN_DOCUMENTS, NEW, Document, Documents, own_fields, summary
from local.mailstore import Mail, MailStore
from local.web import parameters
from local.web.document_api import LISTED, asked_for, tag
from local.web.values import to_json
from shared.delivery.history import entries
from shared.delivery.model import State

#: The states of which the page has a tile, even if no document is in it.
STATES = (NEW, *State)


def document_pages(documents: Documents, mails: MailStore) -> Blueprint:
    """The pages; `mails` are those that documents may have become."""
    pages = Blueprint("documents", __name__)

    @pages.get("/console")
    def page() -> ResponseReturnValue:
        known = documents.latest()
        shown, counts = asked_for(known), Counter(each.state for each in known)
        return render_template(
            "documents.html",
            collection=documents.path,
            states={state: counts[state] for state in (*STATES, *sorted(set(counts) - set(STATES)))},
            codes=sorted({each.code for each in known if each.code}),
            documents=shown[: parameters.whole("limit", LISTED, KNOWN_DOCUMENTS)],
            matching=len(shown),
            known=len(known),
            is_cut=documents.is_cut,
            asked={name: parameters.text(name) for name in ("state", "code", "query")},
        )

    @pages.get("/console/documents/<identifier>")
    def document_page(identifier: str) -> ResponseReturnValue:
        document = documents.get(identifier) or abort(404, f"There is no document {identifier}.")
        data = to_json(document.data)
        return render_template(
            "document.html",
            collection=documents.path,
            document=document,
            summary=summary(document.id, document.changed, document.data),
            timeline=timeline(document),
            mails=mails_of(document, mails.mails()),
            tag=tag(document.data),
            whole=json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True),
            editable=json.dumps(own_fields(data), indent=2, ensure_ascii=False, sort_keys=True),
        )

    return pages


@dataclass(frozen=True, slots=True)
class Moment:
    """A point of a document's life. `end` is None if it takes no time, or has not ended."""

    when: datetime | None
    title: str
    state: str = ""
    end: datetime | None = None
    details: tuple[str, ...] = ()


def timeline(document: Document) -> list[Moment]:
    """What has happened to a document, and what is planned, in order."""
    delivery = document.data.get("delivery")
    delivery = delivery if isinstance(delivery, Mapping) else {}
    moments = [Moment(document.created, "Written")]
    for entry in entries(delivery.get("history")):
        told = {"error code": "errorCode", "transport": "transport", "Message-ID": "messageId", "answer": "response"}
        details = tuple(f"{name}: {entry[field]}" for name, field in told.items() if entry[field])
        title = f"Attempt {entry['attempt']}"
        moments.append(Moment(entry["startTime"], title, entry["state"] or "", entry["endTime"], details))
    state, next_time = delivery.get("state"), delivery.get("nextAttemptTime")
    if state == State.PROCESSING:
        until = delivery.get("leaseExpireTime")
        lease = (f"lease until {until:%H:%M:%S} UTC",) if isinstance(until, datetime) else ()
        moments.append(Moment(None, f"Attempt {delivery.get('attempts')} is running", state, details=lease))
    elif isinstance(next_time, datetime):
        moments.append(Moment(next_time, "Next attempt", str(state or ""), details=("not before",)))
    return moments


def mails_of(document: Document, mails: Sequence[Mail]) -> list[Mail]:
    """The mails that were made of a document: those with the Message-ID of one of its attempts."""
    delivery = document.data.get("delivery")
    delivery = delivery if isinstance(delivery, Mapping) else {}
    info = delivery.get("info")
    known = {entry["messageId"] for entry in entries(delivery.get("history"))}
    known.add(info.get("messageId") if isinstance(info, Mapping) else None)
    return [mail for mail in mails if mail.message_id and mail.message_id in known]
