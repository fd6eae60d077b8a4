"""The mails that the inbox has received: the pages `/` and `/mails/NUMBER`."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, render_template
from flask.typing import ResponseReturnValue
from google.api_core.exceptions import GoogleAPICallError

from local.documents import Documents
from local.mailstore import Mail, wanted
from local.web import parameters
from local.web.messages import SANDBOX
from local.web.opened import OpenedMails

VIEWS = ("html", "text", "headers", "source", "parts")
#: Mails in the list, unless more are asked for.
LISTED, MOST_LISTED = 100, 500
#: Characters of a text or a source that a page shows; the rest can be downloaded.
SHOWN_CHARACTERS = 200_000


def mail_pages(opened: OpenedMails, documents: Documents, can_release: bool) -> Blueprint:
    """The pages; with `can_release`, mails can be sent to real addresses."""
    pages = Blueprint("mails", __name__)

    def document_of(mail: Mail) -> str | None:
        """The id of the document that the mail was made of; None if it is not known, or Firestore fails on demand."""
        try:
            known = documents.latest()
        except GoogleAPICallError:
            return None
        return next((each.id for each in known if each.message_id and each.message_id == mail.message_id), None)

    @pages.get("/")
    def page() -> ResponseReturnValue:
        return render_template("mails.html", opened=None, **listed(opened))

    @pages.get("/mails/<int:number>")
    def mail_page(number: int) -> ResponseReturnValue:
        mail, view = opened.mail(number), opened.view(number)
        opened.store.mark_read(number)
        chosen = parameters.text("view") or ("html" if view.html is not None else "text")
        if chosen not in VIEWS:
            abort(400, f"view: expected one of {', '.join(VIEWS)}.")
        source = opened.content(number)[:SHOWN_CHARACTERS].decode("utf-8", "replace") if chosen == "source" else ""
        return render_template(
            "mails.html",
            opened=mail,
            view=view,
            chosen=chosen,
            source=source,
            shown=SHOWN_CHARACTERS,
            phone=parameters.text("width") == "phone",
            sandbox=SANDBOX,
            document=document_of(mail),
            can_release=can_release,
            **listed(opened),
        )

    return pages


def listed(opened: OpenedMails) -> dict[str, Any]:
    """What the list of mails beside an open one shows, as the request asks for."""
    text, limit = parameters.text("q"), parameters.whole("limit", LISTED, MOST_LISTED)
    mails = list(filter(wanted(text=text), reversed(opened.store.mails())))
    return {
        "mails": mails[:limit],
        "total": len(mails),
        "unread": opened.store.unread(),
        "dropped": opened.store.dropped,
        "q": text,
    }
