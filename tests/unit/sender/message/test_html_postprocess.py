"""Optional changes to an HTML page: inline CSS, and a generated text version."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest

from sender.document.addresses import Address
from sender.document.document import Message
from sender.message.compose import Composer, Defaults
from sender.message.html_postprocess import html_postprocessor, nesting, unchanged
from shared.errors import Misconfigured


def page(html: str | None, text: str | None = None) -> Message:
    return Message(subject="Hi", text=text, html=html, amp=None, attachments=())


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
def test_a_page_without_a_text_gets_one(html: str, text: str | None) -> None:
    assert html_postprocessor(inline_css=False, text_from_html=True)(page(html)).message.text == text


def test_a_given_text_is_kept() -> None:
    message = page("<p>Hi", text="Hello")
    assert html_postprocessor(inline_css=False, text_from_html=True)(message).message is message


def test_styles_are_moved_into_elements_and_media_queries_stay() -> None:
    styles = "<style>p{color:red} @media (max-width:9em){p{color:blue}}</style>"
    html = html_postprocessor(inline_css=True, text_from_html=False)(page(f"{styles}<p>Hi</p>")).message.html or ""
    assert '<p style="color: red;">Hi</p>' in html
    assert "@media (max-width:9em)" in html


def test_a_page_without_styles_keeps_every_byte() -> None:
    message = page("<P>Hi<BR>you")
    assert html_postprocessor(inline_css=True, text_from_html=False)(message).message is message


def test_style_sheets_elsewhere_are_not_fetched() -> None:
    link = '<link rel="stylesheet" href="file:///etc/passwd">'
    html = (
        html_postprocessor(inline_css=True, text_from_html=False)(page(f"<style>p{{}}</style>{link}<p>Hi")).message.html
        or ""
    )
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
def test_a_page_with_too_deep_nesting_is_not_changed(html: str) -> None:
    message = page("<style>p{color:red}</style>" + html)
    polished = html_postprocessor(inline_css=True, text_from_html=True)(message)
    assert polished.message is message
    assert polished.warnings == ("Field 'html' has more than 200 elements inside one another and was sent as it is.",)


@pytest.mark.parametrize("unclosed", ["p", "li", "td", "br", "img"])
def test_elements_that_need_no_end_tag_do_not_count_as_nested(unclosed: str) -> None:
    polished = html_postprocessor(inline_css=True, text_from_html=True)(page(f"<{unclosed}>x" * 1000))
    assert polished.warnings == ()
    assert "x" in (polished.message.text or "")


def test_by_default_nothing_is_changed() -> None:
    assert html_postprocessor(inline_css=False, text_from_html=False) is unchanged


@pytest.mark.parametrize("package", ["css_inline", "inscriptis"])
def test_the_sender_does_not_start_without_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Misconfigured, match=f"need the package '{package}', which the extra 'html' installs"):
        html_postprocessor(inline_css=True, text_from_html=True)


def test_the_mail_contains_the_processed_page() -> None:
    compose = Composer(
        Defaults(Address("", "shop@example.com")),
        postprocess=html_postprocessor(inline_css=True, text_from_html=True),
    )
    mail = compose(
        {"to": "ada@example.com", "message": {"subject": "Hi", "html": "<style>p{color:red}</style><p>Hello</p>"}},
        message_id_local_part="s",
        now=datetime(2026, 11, 24, tzinfo=UTC),
    )
    parsed = message_from_bytes(mail.data, policy=policy.default)
    [text, html] = parsed.iter_parts()
    assert text.get_content().strip() == "Hello"
    assert '<p style="color: red;">Hello</p>' in html.get_content()


@pytest.mark.parametrize("section", ["<![x", "<![ x]>", "<![if !IE]>", "<![CDATA[<p>]]>", "<![endif]-->", "<![<p>"])
def test_a_marked_section_of_any_kind_is_read(section: str) -> None:
    assert nesting(f"<div>{section}</div>") in (1, 2)
