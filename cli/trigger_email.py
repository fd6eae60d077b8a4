"""Trigger Email's configuration as Firepost's. Pure.

The parameters are those of the extension (extension.yaml, in all versions up to 0.2.10) and of its successor, the
function kit (src/config.ts), both in https://github.com/firebase/extensions; and those that the Firebase CLI adds. The
variables are those of infra/terraform.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cli.parameters import Configuration, Finding, Given, Parameter, Result, own_name, parameter, value_of
from cli.trigger_email_login import on_login, on_tls
from dispatcher.event_names import CHANNEL, EventType, full_channel
from sender.document.addresses import BadAddress, mailboxes, parse_addresses

_VARIABLES: Final[Mapping[str, str]] = {
    "MAIL_COLLECTION": "mail_collection",
    "USERS_COLLECTION": "settings.USERS_COLLECTION",
    "TEMPLATES_COLLECTION": "settings.TEMPLATES_COLLECTION",
    "DEFAULT_FROM": "default_from",
    "DEFAULT_REPLY_TO": "default_reply_to",
}

#: Older versions of the extension knew the databases' multi-regions by Eventarc's names.
_LOCATIONS: Final[Mapping[str, str]] = {"eu": "eur3", "us": "nam5"}
_UNITS: Final = ("hour", "day", "week", "month", "year")
_COLLECTION: Final = re.compile(r"[^/{}*]+(?:/[^/{}*]+/[^/{}*]+)*")

_REGION: Final = (
    "Firepost's services run in the database's region, or in the one where Eventarc handles the events of a "
    "multi-region. To choose another, set the variable region."
)
_CHANNEL_FORM: Final = "projects/PROJECT/locations/LOCATION/channels/CHANNEL"
_EVENTS: Final = (
    "Types and data of the events are the same. Their source is the database: a trigger that filters by the function "
    "needs settings.EVENTARC_CLOUD_EVENT_SOURCE. onSuccess and onError come for every mail that ends, and onComplete "
    "comes once, after them."
)
_EGRESS: Final = "For a fixed IP address, set the variable static_egress. Firepost needs no connector."
#: Parameters that have no equivalent, and what to do instead; Firebase's own ones are in lower case.
_INSTEAD: Final[Mapping[str, str]] = {
    "LOCATION": _REGION,
    "location": _REGION,
    "memory": "An instance of Firepost works on many mails at once. If yours are large, set sender.memory.",
    "timeoutseconds": "To give an attempt more than 50 seconds, set lease_seconds and ack_deadline_seconds.",
    "mininstances": "If no mail may wait until an instance has started, set sender.min_instances.",
    "maxinstances": (
        "An instance of Firepost works on many mails at once, not on one. Set sender.max_instances and "
        "sender.smtp_max_connections so that their product is what the mail server allows."
    ),
    "vpcconnector": _EGRESS,
    "vpcconnectoregresssettings": _EGRESS,
    "ingresssettings": "Only Eventarc, Pub/Sub and Cloud Scheduler may call Firepost's services.",
    "labels": "Set the variable labels.",
    "TESTING": "It was for the extension's own tests. To try Firepost without a mail server: python -m local up.",
}


def translate(written: Mapping[str, str], project: str, name: str) -> Configuration:
    """The configuration for the parameters of a file.

    `project` is the id of the project, `name` the prefix of all names, both as in Terraform. There is a finding for
    every parameter, and for those that Firepost needs and the file lacks.
    """
    parameters = [parameter(each, value, project) for each, value in written.items()]
    given = {own_name(each.written): each for each in parameters if each.value}
    into = Configuration({"project": project, "name": name})
    about = [
        *_on_database(given, into),
        *_on_plain(given, into),
        *on_login(given, into),
        *on_tls(given, into),
        *_on_ttl(given, into),
        *_on_events(given, into, selects_none=any(_selects_none(each) for each in parameters)),
        *(Finding(own, Result.UNUSED, text=text) for own, text in _INSTEAD.items() if own in given),
    ]
    into.findings += [each for each in about if each.parameter not in given and each.result is Result.TO_DO]
    for each in parameters:
        into.findings += _about(each, [finding for finding in about if finding.parameter == own_name(each.written)])
    return into


def _about(each: Parameter, findings: list[Finding]) -> Iterator[Finding]:
    """The findings about a parameter under the name that it has in the file."""
    if not each.value:
        yield Finding(each.written, Result.UNUSED, text="It is empty.")
        return
    for finding in findings:
        yield Finding(each.written, finding.result, finding.place, finding.text)
    if not findings:
        yield Finding(each.written, Result.UNKNOWN, text="Neither Trigger Email nor Firepost knows it.")
    if "${" in each.value:
        yield Finding(
            each.written, Result.TO_DO, text="It contains ${…}, which only Firebase fills in: write the value."
        )


def _on_database(given: Given, into: Configuration) -> Iterator[Finding]:
    region = value_of(given, "DATABASE_REGION")
    location = _LOCATIONS.get(region, region)
    into.variables["database"] = {"id": value_of(given, "DATABASE") or "(default)", "location": location}
    yield Finding("DATABASE", Result.SAME, "database.id")
    result, text = Result.SAME, ""
    if not region:
        result, text = Result.TO_DO, "Versions before 0.2.0 did not have it: set the location of the database."
    elif region != location:
        result, text = Result.DIFFERS, f"'{region}' is Eventarc's name of the region. Firestore's is {location}."
    yield Finding("DATABASE_REGION", result, "database.location", text)


def _on_plain(given: Given, into: Configuration) -> Iterator[Finding]:
    """About the parameters that mean the same."""
    for own, place in _VARIABLES.items():
        value = value_of(given, own)
        if value:
            _set(into, place, value)
        if value or own == "DEFAULT_FROM":
            fault = _address_fault(own, value) if own.startswith("DEFAULT_") else _collection_fault(value)
            yield Finding(own, Result.TO_DO if fault else Result.SAME, place, fault)


def _set(into: Configuration, place: str, value: Any) -> None:
    group, _, name = place.rpartition(".")
    if group == "settings":
        into.settings[name] = value
    else:
        into.variables[place] = value


def _collection_fault(value: str) -> str:
    return "" if _COLLECTION.fullmatch(value) else "It must be the path of one collection, without wildcards."


def _address_fault(own: str, value: str) -> str:
    try:
        found = list(mailboxes(parse_addresses(value, joins_names=True)))
    except BadAddress as error:
        return f"Firepost refuses it: {error}."
    wrong = len(found) != 1 if own == "DEFAULT_FROM" else not found
    return "It must be one address." if wrong else ""


def _on_ttl(given: Given, into: Configuration) -> Iterator[Finding]:
    unit, number = value_of(given, "TTL_EXPIRE_TYPE").lower(), value_of(given, "TTL_EXPIRE_VALUE") or "1"
    if unit in ("", "never"):
        yield Finding("TTL_EXPIRE_TYPE", Result.SAME)
        yield Finding("TTL_EXPIRE_VALUE", Result.UNUSED, text="It has no meaning with TTL_EXPIRE_TYPE=never.")
    elif unit not in _UNITS:
        yield Finding("TTL_EXPIRE_TYPE", Result.TO_DO, "ttl", f"It must be never, {', '.join(_UNITS[:-1])} or year.")
        yield Finding("TTL_EXPIRE_VALUE", Result.TO_DO, "ttl", "Set it together with the type.")
    elif not re.fullmatch(r"[1-9]\d{0,4}", number):
        yield Finding("TTL_EXPIRE_TYPE", Result.SAME, "ttl")
        yield Finding("TTL_EXPIRE_VALUE", Result.TO_DO, "ttl", "It must be a whole number from 1.")
    else:
        into.variables["ttl"] = {"type": unit, "value": int(number)}
        text = "Terraform also creates the TTL policy, by which Firestore deletes the documents."
        yield Finding("TTL_EXPIRE_TYPE", Result.DIFFERS, "ttl", text)
        yield Finding("TTL_EXPIRE_VALUE", Result.SAME, "ttl")


def _selects_none(each: Parameter) -> bool:
    return own_name(each.written) == "ALLOWED_EVENT_TYPES" and not each.value


def _on_events(given: Given, into: Configuration, *, selects_none: bool) -> Iterator[Finding]:
    """About the channel of Eventarc and the types of events. An empty list of types is none, a missing one all."""
    channel, types = value_of(given, "EVENTARC_CHANNEL"), value_of(given, "ALLOWED_EVENT_TYPES")
    if not channel:
        if types:
            yield Finding("ALLOWED_EVENT_TYPES", Result.UNUSED, text="It is read only with EVENTARC_CHANNEL.")
        return
    if selects_none:
        yield Finding("EVENTARC_CHANNEL", Result.UNUSED, text="No types of events are selected for it.")
        return
    if not re.fullmatch(CHANNEL, channel):
        yield Finding("EVENTARC_CHANNEL", Result.TO_DO, "eventarc_channel", f"It must be {_CHANNEL_FORM}.")
    else:
        into.variables["eventarc_channel"] = full_channel(channel, into.variables["project"])
        yield Finding("EVENTARC_CHANNEL", Result.DIFFERS, "eventarc_channel", _EVENTS)
    if types:
        into.settings["EXT_SELECTED_EVENTS"] = types
        unknown = {each.strip() for each in types.split(",")} - set(EventType)
        text = "It names a type that Trigger Email does not have: remove it." if unknown else ""
        yield Finding(
            "ALLOWED_EVENT_TYPES", Result.TO_DO if unknown else Result.SAME, "settings.EXT_SELECTED_EVENTS", text
        )
