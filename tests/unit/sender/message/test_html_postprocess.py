"""Optional changes to an HTML page: inline CSS, and a generated text version."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest

from sender.document.addresses import Address
from sender.document.document import Message
from sender.message.compose import Composer, Defaults
from sender.message.html_postprocess import nesting
from sender.message.html_process import HtmlProcess, PostprocessedMessage, html_postprocessor, unchanged
from shared.deadline import NEVER, Deadline
from shared.errors import Misconfigured
from tests.assembly import PATIENCE


def page(html: str | None, text: str | None = None) -> Message:
    return Message(subject="Hi", text=text, html=html, amp=None, attachments=())


class Polish:
    """Post-processes as a sender does, in one process for each choice of settings."""

    def __init__(self) -> None:
        self._processes: dict[tuple[bool, bool], HtmlProcess] = {}

    def __call__(self, message: Message, *, inline_css: bool, text_from_html: bool) -> PostprocessedMessage:
        return self.process(inline_css=inline_css, text_from_html=text_from_html)(message, NEVER)

    def process(self, *, inline_css: bool, text_from_html: bool) -> HtmlProcess:
        key = inline_css, text_from_html
        if key not in self._processes:
            self._processes[key] = HtmlProcess(
                inline_css=inline_css, text_from_html=text_from_html, page_seconds=PATIENCE
            )
        return self._processes[key]

    def close(self) -> None:
        for process in self._processes.values():
            process.close()


@pytest.fixture(scope="module")
def polish() -> Iterator[Polish]:
    polish = Polish()
    yield polish
    polish.close()


@pytest.mark.parametrize(
    ("html", "text"),
    [
        pytest.param("<h1>Hi</h1><p>you &amp; me", "Hi\n\nyou & me", id="blocks"),
        pytest.param('<a href="https://x.example/?a=1&amp;b">Pay</a>', "[Pay](https://x.example/?a=1&b)", id="links"),
        pytest.param("<ul><li>one<li>two</ul>", "  * one\n  * two", id="lists"),
        pytest.param("<style>p{}</style><script>x()</script><p>Hi", "Hi", id="neither-styles-nor-scripts"),
        pytest.param("<img src='cid:logo'>", None, id="nothing-to-read"),
    ],
)
def test_a_page_without_a_text_gets_one(polish: Polish, html: str, text: str | None) -> None:
    assert polish(page(html), inline_css=False, text_from_html=True).message.text == text


def test_a_given_text_is_kept(polish: Polish) -> None:
    message = page("<p>Hi", text="Hello")
    assert polish(message, inline_css=False, text_from_html=True).message is message


def test_styles_are_moved_into_elements_and_media_queries_stay(polish: Polish) -> None:
    styles = "<style>p{color:red} @media (max-width:9em){p{color:blue}}</style>"
    html = polish(page(f"{styles}<p>Hi</p>"), inline_css=True, text_from_html=False).message.html or ""
    assert '<p style="color: red;">Hi</p>' in html
    assert "@media (max-width:9em)" in html


def test_a_page_without_styles_keeps_every_byte(polish: Polish) -> None:
    message = page("<P>Hi<BR>you")
    assert polish(message, inline_css=True, text_from_html=False).message is message


def test_style_sheets_elsewhere_are_not_fetched(polish: Polish) -> None:
    link = '<link rel="stylesheet" href="file:///etc/passwd">'
    html = polish(page(f"<style>p{{}}</style>{link}<p>Hi"), inline_css=True, text_from_html=False).message.html or ""
    assert link in html
    assert "root:" not in html


@pytest.mark.parametrize(
    "html",
    [
        pytest.param("<div>" * 20_000, id="never-closed"),
        pytest.param("<b><div></b>" * 20_000, id="closed-in-the-wrong-order"),
        pytest.param("<p>" + "<i><p>" * 20_000, id="among-paragraphs"),
    ],
)
def test_a_page_with_too_deep_nesting_is_not_changed(polish: Polish, html: str) -> None:
    message = page("<style>p{color:red}</style>" + html)
    polished = polish(message, inline_css=True, text_from_html=True)
    assert polished.message is message
    assert polished.warnings == ("Field 'html' has more than 200 elements inside one another and was sent as it is.",)


@pytest.mark.parametrize("unclosed", ["p", "li", "td", "br", "img"])
def test_elements_that_need_no_end_tag_do_not_count_as_nested(polish: Polish, unclosed: str) -> None:
    polished = polish(page(f"<{unclosed}>x" * 1000), inline_css=True, text_from_html=True)
    assert polished.warnings == ()
    assert "x" in (polished.message.text or "")


def test_by_default_nothing_is_changed() -> None:
    assert html_postprocessor(inline_css=False, text_from_html=False) is unchanged


@pytest.mark.parametrize("package", ["css_inline", "inscriptis"])
def test_the_sender_does_not_start_without_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Misconfigured, match=f"need the package '{package}', which the extra 'html' installs"):
        html_postprocessor(inline_css=True, text_from_html=True)


def test_the_mail_contains_the_processed_page(polish: Polish) -> None:
    compose = Composer(
        Defaults(Address("", "shop@example.com")),
        postprocess=polish.process(inline_css=True, text_from_html=True),
    )
    mail = compose(
        {"to": "ada@example.com", "message": {"subject": "Hi", "html": "<style>p{color:red}</style><p>Hello</p>"}},
        seed="s",
        now=datetime(2026, 11, 24, tzinfo=UTC),
    )
    parsed = message_from_bytes(mail.data, policy=policy.default)
    [text, html] = parsed.iter_parts()
    assert text.get_content().strip() == "Hello"
    assert '<p style="color: red;">Hello</p>' in html.get_content()


@pytest.mark.parametrize("section", ["<![x", "<![ x]>", "<![if !IE]>", "<![CDATA[<p>]]>", "<![endif]-->", "<![<p>"])
def test_a_marked_section_of_any_kind_is_read(section: str) -> None:
    assert nesting(f"<div>{section}</div>") in (1, 2)


#: Each rule fits each element: more than a minute.
QUADRATIC = "<style>" + "p{color:red}" * 16_000 + "</style>" + "<p>x" * 160_000
#: Each element gets the whole style.
GROWING = "<style>p{" + "".join(f"--x{number}:y;" for number in range(300)) + "}</style>" + "<p>x" * 4_000


@pytest.mark.parametrize(
    ("html", "seconds", "warning"),
    [
        pytest.param(QUADRATIC, 0.2, "takes too long to change", id="takes-too-long"),
        pytest.param(GROWING, PATIENCE, "becomes too long when it is changed", id="becomes-too-long"),
    ],
)
def test_a_page_that_is_too_much_is_sent_as_it_is_and_the_next_one_is_changed(
    html: str, seconds: float, warning: str
) -> None:
    process = HtmlProcess(inline_css=True, text_from_html=False, page_seconds=seconds)
    try:
        message = page(html)
        changed = process(message, NEVER)
        assert changed.message is message
        assert changed.warnings == (f"Field 'html' {warning} and was sent as it is.",)
        process._page_seconds = PATIENCE
        assert 'style="color: red;"' in (process(page("<style>p{color:red}</style><p>Hi"), NEVER).message.html or "")
    finally:
        process.close()


def test_a_page_does_not_outlast_the_attempt() -> None:
    process = HtmlProcess(inline_css=True, text_from_html=False, page_seconds=PATIENCE)
    try:
        process(page("<style>p{}</style><p>the process runs"), NEVER)
        began = time.monotonic()
        changed = process(page(QUADRATIC), Deadline.after(0.1))
        assert changed.warnings
        assert time.monotonic() - began < PATIENCE
    finally:
        process.close()


def test_a_process_that_has_died_is_replaced() -> None:
    process = HtmlProcess(inline_css=True, text_from_html=False, page_seconds=PATIENCE)
    try:
        process(page("<style>p{}</style><p>the process runs"), NEVER)
        running = process._process
        assert running is not None
        running.kill()
        running.wait()
        changed = process(page("<style>p{color:red}</style><p>Hi"), NEVER)
        assert 'style="color: red;"' in (changed.message.html or "")
    finally:
        process.close()


def test_without_room_for_another_process_a_page_is_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    changed = HtmlProcess(inline_css=True, text_from_html=False)(page("<style>p{}</style><p>Hi"), NEVER)
    assert changed.message.html == "<style>p{}</style><p>Hi"
    assert changed.warnings == (
        "Field 'html' could not be changed, because the sender can start no other process, and was sent as it is.",
    )
