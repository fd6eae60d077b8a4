"""Interprets the text of a refusal. Pure functions.

Reply codes and enhanced status codes don't distinguish a sending limit from a full mailbox: servers use 4xx and 5xx,
4.2.1, 5.4.5 and 5.7.1 for both. So the text decides. It is about a sending limit if it names a rate ("slow down", "rate
limit"), or a limit ("exceeded", "too many") together with what is limited: time ("per hour", "daily"), connections, or
mails. Other limits (size, mailbox, recipients of one mail, hops) are excluded.

`tests/unit/sender/transport/replies.tsv` lists real replies of providers.
"""

from __future__ import annotations

import re

#: The longest announced wait that is accepted, in seconds.
LONGEST_WAIT = 86_400.0

#: Seconds to wait after reaching a limit per day or longer, if the server does not announce a wait. Most such limits
#: use a sliding window, so that there is room again before the day is over.
DAILY_WAIT = 3_600.0


def _about(*ideas: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(ideas)})\b")


_PACE = _about(
    r"throttl\w*",
    r"slow(?:ing)? down",
    r"too (?:fast|quickly|often|rapidly|frequent(?:ly)?)",
    r"rate ?limit\w*",
    r"(?:over|exceed\w*|max\w*|sending|message|mail|connection|submission|unusual|high|request|login) (?:\w+ )?rate",
    r"rate (?:\w+ )?(?:exceeded|overlimit|control|reached|too high)",
    r"flood\w*",
    r"(?:server|system|service|too|currently|is) busy",
    r"concurren\w+",
    r"simultaneous\w*",
    r"thread limit",
    r"overload\w*",
    r"congest\w*",
    r"load (?:\w+ )?(?:is )?too high",
    r"too many (?:\w+ )?(?:recipients|commands) from",  # Postfix counts them per client and minute
)
_LIMIT = _about(
    r"limit\w*",
    r"quota",
    r"max(?:imum)?",
    r"exceed\w*",
    r"overlimit",
    r"too (?:many|much)",
    r"reached",
    r"allowance",
    r"unusual\w*",
    r"unexpected",
    r"excessive",
    r"only \d+",
)
_UNIT = r"(?:s|sec|seconds?|min|minutes?|h|hours?|hrs?|d|days?|weeks?|months?)"
_TIME = _about(
    r"hourly",
    r"daily",
    r"weekly",
    r"monthly",
    r"today",
    r"24 ?h(?:(?:ou)?rs?)?",
    rf"(?:per|each|every|this|last|past|an?|one|in|within) (?:\d+ )?{_UNIT}",
    r"(?:minute|hour|day|month)s? (?:\w+ )?(?:limit|quota|maximum)",
    r"\d+ ?/ ?\d*[hd]",
)
_DAY = _about(
    r"daily",
    r"weekly",
    r"monthly",
    r"today",
    r"credits?",
    r"24 ?h(?:(?:ou)?rs?)?",
    r"(?:per|each|every|this|an?|one|in|within) (?:day|week|month)",
    r"(?:day|month)s? (?:\w+ )?(?:limit|quota|maximum)",
    r"\d+ ?/ ?\d*d",
)
_CONNECTIONS = _about(r"connections?", r"sessions?", r"logins?", r"threads?")
_AT_ONCE = _about(r"connections?", r"sessions?", r"threads?", r"concurren\w+", r"simultaneous\w*")
_SENDING = _about(
    r"sending", r"outgoing", r"outbound", r"submissions?", r"relays?", r"send (?:limit|quota)", r"credits?"
)
_MAILS = _about(
    r"messages",
    r"mails",
    r"e ?mails?",
    r"too much mail",
    r"(?:mail|message) (?:limit|quota)",
    r"sent",
    r"volume",
    r"traffic",
    r"requests",
    r"number of mail",
)

_SIZE = _about(r"siz(?:e|es|ed)", r"bytes", r"octets", r"too (?:large|big|long)", r"\d+ ?[kmg]i?b", r"attachments?")
_MAILBOX = _about(
    r"mail ?box(?:es)?",
    r"inbox",
    r"storage",
    r"disk",
    r"space",
    r"full",
    r"over (?:\w+ )?quota",
    r"on the server",
    r"tried to reach",
)
_RECIPIENTS = _about(
    r"too many (?:\w+ )?(?:recipients|rcpts?)",
    r"recipients? limit",
    r"recipients (?:per|in) (?:a |one |this |the |each )?(?:e ?)?(?:mail|message|transaction)",
    r"(?:number|count|amount) of (?:\w+ )?recipients",
    r"max(?:imum)? (?:\w+ )?recipients",
)
_CONTENT = _about(
    r"spam\w*", r"virus\w*", r"malware", r"phish\w*", r"content", r"dmarc", r"dkim", r"spf", r"\w*blacklist\w*", r"rbl"
)
#: Limits unrelated to how much we send.
_FOREIGN = _about(
    r"(?:user|recipient|mailbox|they|account) .*receiv(?:e|ed|ing)",
    r"recipient (?:has|is|s) (?:\w+ )?(?:exceed\w*|over|reached)",
    r"too many (?:\w+ ){0,3}(?:errors?|commands?\b(?! from)|hops|headers?|lookups?|parameters|parts|received)",
    r"hops?(?: count)?",
    r"loop\w*",
    r"(?:failed|invalid|bad|unsuccessful|incorrect|wrong) (?:\w+ )?(?:logins?|auth\w*|passwords?|attempts?)",
    r"relay(?:ing)? (?:access )?(?:denied|prohibited|not (?:allowed|permitted))",
)
_TLS = _about(r"tls\w*", r"starttls", r"ssl", r"encrypt\w*")
_POLICY = _about(
    r"not (?:allowed|permitted|authori[sz]ed|in whitelist)",
    r"(?:access|relay) denied",
    r"den(?:y|ied)",
    r"unauthori[sz]ed",
    r"prohibited",
    r"policy",
    r"unauthenticated",
    r"relaying",
)


def is_sending_limit(text: str) -> bool:
    """Whether we have reached a sending limit: of the rate, of connections, or of mails per hour or day."""
    words = _words(text)
    if _FOREIGN.search(words):
        return False
    if _PACE.search(words):
        return True
    if not _LIMIT.search(words):
        return False
    if _TIME.search(words) or _CONNECTIONS.search(words):
        return True
    if _SIZE.search(words) or _RECIPIENTS.search(words):
        return False
    if _SENDING.search(words):
        return True
    return _MAILS.search(words) is not None and not (_MAILBOX.search(words) or _CONTENT.search(words))


def is_about_connections(text: str) -> bool:
    """Whether a sending limit is about how much we do at the same time."""
    return _AT_ONCE.search(_words(text)) is not None


def is_daily(text: str) -> bool:
    """Whether the limit in the text is per day or longer."""
    return _DAY.search(_words(text)) is not None


def is_about_recipients(text: str) -> bool:
    """Whether one mail has more recipients than the server accepts."""
    return _RECIPIENTS.search(_words(text)) is not None


def is_about_the_mail(text: str) -> bool:
    """Whether the refusal is about encryption, a policy, the content or the size, rather than the server's load."""
    words = _words(text)
    return any(idea.search(words) for idea in (_TLS, _POLICY, _CONTENT, _SIZE))


def demands_tls(text: str) -> bool:
    """Whether the text is about encryption."""
    return _TLS.search(_words(text)) is not None


def _words(text: str) -> str:
    """The text's words in lower case, without addresses, links and announced waits, which would match by accident."""
    kept = " ".join(word for word in text.split() if "@" not in word and "://" not in word)
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kept).lower()  # SubmissionQuotaExceededException
    return " ".join(_TOKEN.findall(_ANNOUNCED.sub(" ", split)))


# Waits

_TOKEN = re.compile(r"[^\W\d_]+|\d+|/")
_NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "five": 5, "ten": 10, "fifteen": 15, "thirty": 30}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AMOUNT = (
    rf"(?:[0-9]+|(?:{'|'.join(_NUMBERS)})\b)\s*(?:s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?)\b"
)

#: "try again in 5 minutes", "Greylisted for 300 seconds", "please come back in 00:05:00".
_ANNOUNCED = re.compile(
    rf"""
    \b (?: try | retry | again | back | later | wait | resend | reconnect | greylist\w* | greylisting | graylist\w*
       | deferred | delayed | blocked | locked | suspended | resume | expires | resets )
    (?: [\s,:;.(-]+ (?: again | later | back | sending | it | the | this | your | mail | message | delivery | please
       | at | least | about | up | to | another | approximately | in | action | effect | for | temporarily | once | more
       )\b
    ){{0,8}}
    [\s,:;.(-]+ (?: (?: in | after | within | for ) \s+ (?: (?: at\ least | about | approximately | another ) \s+ )? )?
    (?: (?P<clock> [0-9]{{1,2}} : [0-9]{{2}} : [0-9]{{2}} )
      | (?P<amounts> {_AMOUNT} (?: (?:\s*,\s*|\s+and\s+|\s+) {_AMOUNT} )? ) )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PART = re.compile(rf"\b([0-9]+|(?:{'|'.join(_NUMBERS)})\b)\s*([smhd])", re.IGNORECASE)


def announced_wait(text: str) -> float | None:
    """The wait in seconds that the server announces, more than 0 and at most a day; None if it announces none."""
    match = _ANNOUNCED.search(text)
    if match is None:
        return None
    if match["clock"]:
        hours, minutes, seconds = map(int, match["clock"].split(":"))
        total = hours * 3600.0 + minutes * 60 + seconds
    else:
        total = sum(_number(number) * _SECONDS[unit.lower()] for number, unit in _PART.findall(match["amounts"]))
    return min(total, LONGEST_WAIT) or None


def _number(word: str) -> float:
    # Limits the digits: a hostile server may send thousands.
    return float(word[:9]) if word.isdigit() else float(_NUMBERS[word.lower()])
