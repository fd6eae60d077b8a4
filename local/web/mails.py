"""The inbox page: the mails that the SMTP server received."""

from __future__ import annotations

import io
from typing import Any

from flask import Blueprint, Response, abort, render_template, send_file, url_for
from flask.typing import ResponseReturnValue

from local.inbox import Inbox, Mail
from local.mailview import parse_mail, with_inline_images

#: A mail's HTML is untrusted: no scripts, no forms, no frames, and its own origin. Images and styles may be loaded, as
#: in mail programs.
_MAIL_POLICY = (
    "sandbox; default-src 'none'; img-src * data:; style-src * 'unsafe-inline'; font-src *; frame-ancestors 'self'"
)


def inbox_pages(inbox: Inbox) -> Blueprint:
    """The page at `/` and its JSON below `/api/messages`."""
    pages = Blueprint("inbox", __name__)

    def wanted(number: int) -> Mail:
        return inbox.find(number) or abort(404, f"Mail {number} is not (or no longer) here.")

    @pages.get("/")
    def page() -> ResponseReturnValue:
        return render_template("inbox.html")

    @pages.get("/api/messages")
    def list_messages() -> ResponseReturnValue:
        return [summary(mail) for mail in reversed(inbox.mails())]

    @pages.delete("/api/messages")
    def clear() -> ResponseReturnValue:
        inbox.clear()
        return "", 204

    @pages.get("/api/messages/<int:number>")
    def message(number: int) -> ResponseReturnValue:
        return details(wanted(number))

    @pages.get("/api/messages/<int:number>/raw")
    def raw(number: int) -> ResponseReturnValue:
        return Response(wanted(number).data, mimetype="text/plain")

    @pages.get("/api/messages/<int:number>/html")
    def html(number: int) -> ResponseReturnValue:
        view = parse_mail(wanted(number).data)
        urls = {
            part.content_id: url_for("inbox.attachment", number=number, index=index)
            for index, part in enumerate(view.attachments)
            if part.content_id
        }
        answer = Response(with_inline_images(view.html or "", urls), mimetype="text/html")
        answer.headers["Content-Security-Policy"] = _MAIL_POLICY
        return answer

    @pages.get("/api/messages/<int:number>/attachments/<int:index>")
    def attachment(number: int, index: int) -> ResponseReturnValue:
        attachments = parse_mail(wanted(number).data).attachments
        if index >= len(attachments):
            abort(404, f"Mail {number} has no attachment {index}.")
        part = attachments[index]
        return send_file(io.BytesIO(part.content), part.type, as_attachment=True, download_name=part.name)

    return pages


def summary(mail: Mail) -> dict[str, Any]:
    """A mail as one entry of the list: the envelope, and the headers that identify it."""
    view = parse_mail(mail.data)
    return {
        "number": mail.number,
        "received": mail.received.isoformat(),
        "sender": mail.sender,
        "recipients": list(mail.recipients),
        "size": len(mail.data),
        "attachments": len(view.attachments),
        **{name: view.header(name) for name in ("subject", "from", "to", "cc")},
    }


def details(mail: Mail) -> dict[str, Any]:
    """A mail with everything displayable; attachments without their content."""
    view = parse_mail(mail.data)
    return summary(mail) | {
        "headers": [list(header) for header in view.headers],
        "text": view.text,
        "html": view.html,
        "attachments": [
            {"name": part.name, "type": part.type, "size": len(part.content), "contentId": part.content_id}
            for part in view.attachments
        ],
    }
