from __future__ import annotations

import pytest

from sender.transport.smtp.commands import GROUP_BYTES, PIECE_BYTES, Command, abort_command, as_data, group
from sender.transport.smtp.replies import Reply, Step

COMMANDS: list[Command] = [
    (Step.MAIL, "MAIL FROM:<a@example.com>"),
    (Step.RCPT, "RCPT TO:<b@example.com>"),
    (Step.RCPT, "RCPT TO:<c@example.com>"),
    (Step.DATA, "DATA"),
]


def rcpt(size: int) -> Command:
    """A command of `size` bytes, including the line end."""
    return Step.RCPT, "x" * (size - 2)


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        pytest.param([rcpt(30)] * 5, 5, id="all, if they are few"),
        pytest.param([rcpt(GROUP_BYTES // 4)] * 9, 4, id="just full"),
        pytest.param([rcpt(GROUP_BYTES // 4 + 1)] * 9, 3, id="one byte too many"),
        pytest.param([rcpt(GROUP_BYTES + 1)] * 2, 1, id="at least one, however long"),
        pytest.param([(Step.RCPT, "ü" * (GROUP_BYTES // 4))] * 2, 1, id="bytes count, not characters"),
    ],
)
def test_commands_are_grouped_up_to_a_safe_size(commands: list[Command], expected: int) -> None:
    assert group(commands) == [text for _, text in commands[:expected]]


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        pytest.param([], "", id="nothing was sent"),
        pytest.param([550], "", id="no mail was started"),
        pytest.param([550, 503, 503, 503], "", id="no mail was started, and all else was answered"),
        pytest.param([250], "RSET", id="a mail without recipients yet"),
        pytest.param([250, 550, 550], "RSET", id="a mail without recipients"),
        pytest.param([250, 550, 450, 503], "RSET", id="a mail without recipients, and DATA refused"),
        pytest.param([250, 250, 550, 451], "RSET", id="a mail with a recipient, and DATA refused"),
        pytest.param([250, 550, 550, 354], ".", id="content awaited without recipients"),
        pytest.param([550, 503, 503, 354], ".", id="content awaited without a mail"),
        pytest.param([250, 250, 550, 354], None, id="content awaited for a recipient: a dot would send an empty mail"),
        pytest.param([550, 250, 503, 354], None, id="content awaited for a recipient, although there is no mail"),
        pytest.param([250, 354], None, id="a recipient answered as if it were DATA"),
        pytest.param([550, 503, 503, 250], None, id="DATA answered as if it were a recipient"),
    ],
)
def test_the_abort_command_depends_on_the_replies(codes: list[int], expected: str | None) -> None:
    assert abort_command(COMMANDS, [Reply(code, ("",)) for code in codes]) == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"", b"\r\n.\r\n"),
        (b".a\r\n.\r\n..b\r\n", b"..a\r\n..\r\n...b\r\n.\r\n"),
        (b"a\n.\nb.c\r\n", b"a\n..\nb.c\r\n.\r\n"),
    ],
)
def test_no_line_of_the_content_can_end_the_mail(data: bytes, expected: bytes) -> None:
    assert b"".join(as_data(data)) == expected


def test_content_without_leading_dots_is_not_copied() -> None:
    data = b"Subject: a.b\r\n\r\n" + b"x.y\r\n" * 1000
    assert any(piece is data for piece in as_data(data))


@pytest.mark.parametrize("before", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_a_dot_is_doubled_wherever_large_content_is_cut(before: int) -> None:
    data = b"x" * (before - 1) + b"\n.\n." * 3 + b"y" * PIECE_BYTES + b"\r\n"
    assert b"".join(as_data(data)) == data.replace(b"\n.", b"\n..") + b".\r\n"
