"""SendGrid's documented rules for the body of `POST /v3/mail/send`: a JSON Schema and a few further checks.

https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send
https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
Unlike the documentation, it refuses unknown names, as SendGrid does.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import jsonschema

Json = dict[str, Any]


def _object(required: list[str], **properties: Any) -> Json:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def _strings(**more: Any) -> Json:
    return {"type": "object", "additionalProperties": {"type": "string"}, **more}


_TEXT = {"type": "string"}
_FILLED = {"type": "string", "minLength": 1}
_ADDRESS = _object(["email"], email={"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$"}, name=_TEXT)
_ADDRESSES = {"type": "array", "minItems": 1, "maxItems": 1000, "items": _ADDRESS}
_SWITCH = _object([], enable={"type": "boolean"})

SCHEMA = {
    **_object(
        ["personalizations", "from"],
        personalizations={
            "type": "array",
            "minItems": 1,
            "maxItems": 1000,
            "items": _object(
                ["to"],
                to=_ADDRESSES,
                cc=_ADDRESSES,
                bcc=_ADDRESSES,
                subject=_FILLED,
                headers=_strings(),
                dynamic_template_data={"type": "object"},
                custom_args=_strings(),
                send_at={"type": "integer"},
            ),
        },
        reply_to=_ADDRESS,
        reply_to_list={**_ADDRESSES, "uniqueItems": True},
        subject=_FILLED,
        content={"type": "array", "minItems": 1, "items": _object(["type", "value"], type=_FILLED, value=_FILLED)},
        attachments={
            "type": "array",
            "minItems": 1,
            "items": _object(
                ["content", "filename"],
                content={"type": "string", "minLength": 1, "pattern": "^[A-Za-z0-9+/]+={0,2}$"},
                type={"type": "string", "pattern": "^[^;,\\r\\n]+$"},
                filename={"type": "string", "pattern": "^[^\\r\\n]*$"},
                disposition={"enum": ["inline", "attachment"]},
                content_id=_TEXT,
            ),
        },
        template_id=_TEXT,
        headers=_strings(
            propertyNames={
                "not": {
                    "pattern": "^(?i:x-sg-id|x-sg-eid|received|dkim-signature|content-type|content-transfer-encoding"
                    "|to|from|subject|reply-to|cc|bcc)$"
                }
            }
        ),
        categories={
            "type": "array",
            "maxItems": 10,
            "uniqueItems": True,
            "items": {"type": "string", "maxLength": 255},
        },
        custom_args=_strings(),
        send_at={"type": "integer"},
        batch_id=_TEXT,
        asm=_object(["group_id"], group_id={"type": "integer"}),
        ip_pool_name={"type": "string", "minLength": 2, "maxLength": 64},
        mail_settings=_object(
            [],
            bypass_list_management=_SWITCH,
            bypass_spam_management=_SWITCH,
            bypass_bounce_management=_SWITCH,
            bypass_unsubscribe_management=_SWITCH,
            footer=_object([], enable={"type": "boolean"}, text=_TEXT, html=_TEXT),
            sandbox_mode=_SWITCH,
        ),
        tracking_settings={"type": "object"},
    ),
    "if": {"not": {"required": ["template_id"]}},
    "then": {"required": ["subject", "content"]},
    "not": {"required": ["reply_to", "reply_to_list"]},
}
# `from` can't be a keyword argument in Python.
SCHEMA["properties"]["from"] = _ADDRESS

_ORDER = ("text/plain", "text/html")


def complaints(body: Json) -> list[Json]:
    """The `errors` that SendGrid would answer with; empty for a valid body."""
    faults = [
        {"message": error.message, "field": ".".join(map(str, error.absolute_path)), "help": None}
        for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(body)
    ]
    return faults or [*_repetitions(body), *_disorder(body)]


def _repetitions(body: Json) -> list[Json]:
    faults = []
    for index, envelope in enumerate(body["personalizations"]):
        mailboxes = [entry["email"].lower() for field in ("to", "cc", "bcc") for entry in envelope.get(field, [])]
        repeated = [email for email, count in Counter(mailboxes).items() if count > 1]
        if repeated:
            text = "Each email address in the personalization block should be unique between to, cc, and bcc. "
            text += f"We found the first duplicate instance of [{repeated[0]}]."
            faults.append({"message": text, "field": f"personalizations.{index}", "help": None})
    return faults


def _disorder(body: Json) -> list[Json]:
    kinds = [part["type"] for part in body.get("content", [])]
    wanted = sorted(kinds, key=lambda kind: _ORDER.index(kind) if kind in _ORDER else len(_ORDER))
    if kinds == wanted:
        return []
    return [{"message": "text/plain needs to be first, followed by text/html.", "field": "content", "help": None}]
