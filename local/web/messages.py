"""The mails that the inbox has received, for programs: `/api/messages`."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, Response, abort, send_file, url_for
from flask.typing import ResponseReturnValue

from local.mailstore import Mail, Wanted, wanted
from local.mailview import MailView, in_new_tabs, links, with_inline_images
from local.web import parameters
from local.web.opened import OpenedMails
from shared.errors import FirepostError

#: Sends a mail to real recipients; returns the server's answer.
ReleaseTo = Callable[[Mail, Sequence[str]], str]

#: A mail's HTML is untrusted: no scripts, no forms, no frames, and its own origin. Images and styles may be loaded, as
#: in mail programs. Its links may open new tabs, which are ordinary ones.
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"
_MAIL_POLICY = (
    f"sandbox {SANDBOX}; default-src 'none'; img-src * data:; style-src * 'unsafe-inline'; font-src *; "
    "frame-ancestors 'self'"
)
#: Mails in a list, unless fewer are asked for.
LISTED = 500
MOST_RELEASED_TO = 20


class MessageApi:
    """The routes. `release` None means that no mail may leave this machine."""

    def __init__(self, opened: OpenedMails, release: ReleaseTo | None, places: threading.Semaphore) -> None:
        self._opened = opened
        self._store = opened.store
        self._release = release
        self._places = places

    def routes(self) -> Blueprint:
        """All routes, by path and method."""
        api = Blueprint("messages", __name__, url_prefix="/api/messages")
        api.get("")(self.find)
        api.delete("")(self.clear)
        api.get("/latest")(self.latest)
        api.get("/<int:number>")(self.show)
        api.patch("/<int:number>")(self.change)
        api.delete("/<int:number>")(self.delete)
        api.get("/<int:number>/raw")(self.raw)
        api.get("/<int:number>/eml")(self.eml)
        api.get("/<int:number>/html")(self.html)
        api.get("/<int:number>/attachments/<int:index>")(self.attachment)
        api.post("/<int:number>/release")(self.release)
        return api

    def find(self) -> ResponseReturnValue:
        """The mails that are asked for, newest first; waits for one."""
        limit = parameters.whole("limit", LISTED, LISTED)
        with parameters.waiting(self._places) as seconds:
            mails = self._store.wait(asked_for(), seconds)
        return [summary(mail, self._opened.is_unread(mail.number)) for mail in reversed(mails)][:limit]

    def latest(self) -> ResponseReturnValue:
        """The newest mail that is asked for; waits for it."""
        with parameters.waiting(self._places) as seconds:
            mails = self._store.wait(asked_for(), seconds)
        if not mails:
            abort(404, f"No such mail within {seconds:g} s; {len(self._store.mails())} others are here.")
        return self.show(mails[-1].number)

    def clear(self) -> ResponseReturnValue:
        """Delete all."""
        self._store.clear()
        return "", 204

    def show(self, number: int) -> ResponseReturnValue:
        """One mail, parsed."""
        return details(self._opened.mail(number), self._opened.view(number), self._opened.is_unread(number))

    def change(self, number: int) -> ResponseReturnValue:
        """Mark a mail as read."""
        self._opened.mail(number)
        if parameters.body() != {"unread": False}:
            abort(400, 'Expected {"unread": false}.')
        self._store.mark_read(number)
        return "", 204

    def delete(self, number: int) -> ResponseReturnValue:
        """Delete one."""
        self._opened.mail(number)
        self._store.delete(number)
        return "", 204

    def raw(self, number: int) -> ResponseReturnValue:
        """The source as text."""
        return Response(self._opened.content(number), mimetype="text/plain")

    def eml(self, number: int) -> ResponseReturnValue:
        """The source as a file for mail programs."""
        data = io.BytesIO(self._opened.content(number))
        return send_file(data, "message/rfc822", as_attachment=True, download_name=f"mail-{number}.eml")

    def html(self, number: int) -> ResponseReturnValue:
        """The HTML, confined."""
        view = self._opened.view(number)
        urls = {
            part.content_id: url_for("messages.attachment", number=number, index=index)
            for index, part in enumerate(view.attachments)
            if part.content_id
        }
        answer = Response(in_new_tabs(with_inline_images(view.html or "", urls)), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = _MAIL_POLICY
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    def attachment(self, number: int, index: int) -> ResponseReturnValue:
        """The content of an attachment."""
        attachments = self._opened.view(number).attachments
        if index >= len(attachments):
            abort(404, f"Mail {number} has no attachment {index}.")
        part = attachments[index]
        return send_file(io.BytesIO(part.content), part.type, as_attachment=True, download_name=part.name)

    def release(self, number: int) -> ResponseReturnValue:
        """Send a mail to real addresses."""
        mail = self._opened.mail(number)
        if self._release is None:
            abort(403, "No mail may leave this machine; the option --release-uri allows it.")
        to = parameters.body().get("to")
        to = [address.strip() for address in to.split(",")] if isinstance(to, str) else to
        if not isinstance(to, list) or not 0 < len(to) <= MOST_RELEASED_TO or not all(map(is_address, to)):
            abort(400, f"to: expected 1 to {MOST_RELEASED_TO} addresses such as ada@example.com.")
        try:
            return {"response": self._release(mail, to)}
        except FirepostError as error:
            abort(502, str(error))


def asked_for() -> Wanted:
    """The mails that a request's parameters ask for."""
    texts = {name: parameters.text(name) for name in ("to", "subject")}
    return wanted(**texts, text=parameters.text("query"), after=parameters.whole("after", 0))


def is_address(value: object) -> bool:
    """Whether a mail server can be given it: one local part, one domain, and nothing that ends a command."""
    if not isinstance(value, str) or len(value) > 254 or not value.isprintable():
        return False
    local, at, domain = value.partition("@")
    return bool(local and at and domain) and not set(value.replace("@", "", 1)) & set(' <>"(),;:\\@')


def summary(mail: Mail, unread: bool) -> dict[str, Any]:
    """A mail as one entry of a list: the envelope, and the headers that identify it."""
    return {
        "number": mail.number,
        "received": mail.received.isoformat(),
        "unread": unread,
        "sender": mail.sender,
        "recipients": list(mail.recipients),
        "size": mail.size,
        "attachments": mail.attachments,
        "subject": mail.subject,
        "from": mail.from_,
        "to": mail.to,
        "cc": mail.cc,
        "replyTo": mail.reply_to,
        "messageId": mail.message_id,
    }


def details(mail: Mail, view: MailView, unread: bool) -> dict[str, Any]:
    """A mail with everything displayable; attachments without their content."""
    return summary(mail, unread) | {
        "headers": [list(header) for header in view.headers],
        "text": view.text,
        "html": view.html,
        "links": list(links(view)),
        "attachments": [
            {"name": part.name, "type": part.type, "size": len(part.content), "contentId": part.content_id}
            for part in view.attachments
        ],
    }
