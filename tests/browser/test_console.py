"""Every page, as people see and use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from local.clients import firestore_client
from local.options import StackOptions
from local.stack import Stack
from local.waiting import wait_until
from tests.browser.chromium import Chromium, Page
from tests.patience import patience

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("browser")]

PAGES = {
    "documents": "/console",
    "some documents": "/console?state=ERROR&query=order",
    "a document": "/console/documents/welcome-ada",
    "mails": "/",
    "a mail": "/mails/1",
    "a mail as on a phone": "/mails/1?width=phone",
    "its headers": "/mails/1?view=headers",
    "its parts": "/mails/1?view=parts",
    "queues": "/queues",
    "logs": "/logs",
    "faults": "/faults",
    "no page": "/mails/999",
}
#: Texts whose contrast is below WCAG 2.2's minimum for normal text (1.4.3), with the ratio.
PALE = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility() || ["OPTION", "SCRIPT"].includes(element.tagName)) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${element.innerText.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return found;
})()"""
#: Controls that a screen reader could not name.
NAMELESS = """[...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, iframe")]
  .filter((e) => e.checkVisibility() && !(e.innerText || e.ariaLabel || e.title || e.labels?.[0]?.innerText).trim())
  .map((e) => e.outerHTML)"""


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Page]:
    page = chromium.page()
    yield page
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_every_page_is_sound(chromium: Chromium, stack: Stack, path: str, width: int, scheme: str) -> None:
    page = chromium.page(width=width, scheme=scheme)
    page.open(stack.ready["inbox"] + path)
    page.wait_for("document.querySelector('main').innerText.length > 0")
    complaints = [text for text in page.complaints() if "404" not in text or "999" not in path]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(PALE) == []
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.querySelectorAll('h1').length") <= 1
    backdrop = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert backdrop == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}[scheme]
    page.close()


def test_a_new_mail_appears_by_itself(stack: Stack, page: Page) -> None:
    page.open(stack.ready["inbox"] + "/")
    page.evaluate("window.mark = 'not reloaded'")
    stack.inbox.store.keep("shop@example.com", ["live@example.com"], b"Subject: Suddenly here\r\n\r\nx")
    page.wait_for_text("Suddenly here")
    assert page.evaluate("window.mark") == "not reloaded"


def test_a_document_is_written_watched_corrected_and_deleted(stack: Stack, page: Page) -> None:
    page.open(stack.ready["console"])
    page.click("#write summary")
    page.fill("#write [name=to]", "refuse-this@example.com")
    page.fill("#write [name='message.subject']", "By hand")
    page.fill("#write [name='message.text']", "Hello.")
    page.click("#write form button")
    page.wait_for_text("550 5.1.1 No such mailbox")
    page.wait_for("document.querySelector('#head .state').innerText === 'ERROR'")
    page.click("main > details summary")
    page.fill("[data-match] textarea", '{"to": "ada@example.com", "message": {"subject": "Corrected", "text": "x"}}')
    page.click("[data-match] button")
    page.wait_for("document.querySelector('#head').innerText.includes('Corrected')")
    page.click("#head [data-url$=retry]")
    page.wait_for("document.querySelector('#head .state').innerText === 'SUCCESS'")
    page.wait_for("document.querySelectorAll('.timeline li').length === 3")
    page.wait_for("document.querySelector('#mails-of a') !== null")
    place = page.evaluate("location.pathname")
    question = page.answer_dialogs(False, lambda: page.click("#head .danger"))
    assert question == "Delete this document?"
    assert requests.get(stack.ready["inbox"] + place, timeout=patience(5)).status_code == 200
    page.answer_dialogs(True, lambda: page.click("#head .danger"))
    page.wait_for("location.pathname === '/console'")
    assert requests.get(stack.ready["inbox"] + place, timeout=patience(5)).status_code == 404


def test_what_can_not_be_written_is_explained(stack: Stack, page: Page) -> None:
    page.open(stack.ready["console"])
    page.click("#write summary")
    page.fill("#write [data-whole]", '{"sendAt": {"$timestamp": "soon"}}')
    page.click("#write form:nth-of-type(2) button")
    page.wait_for_text("$timestamp: expected an ISO 8601 time with a zone")
    page.fill("#write [data-whole]", '{"to": }')
    page.click("#write form:nth-of-type(2) button")
    page.wait_for_text("is not valid JSON")


HOSTILE = b"""Subject: Hostile\r\nContent-Type: text/html\r\n\r\n<script>parent.document.title = "taken over";
fetch("/api/messages", {method: "DELETE"})</script><img src=x onerror="parent.document.title = 'taken over'">
<form id=f action="/api/messages" method=post><button>x</button></form><script>f.submit()</script>
<iframe src="/api/messages"></iframe><meta http-equiv=refresh content="0; url=/console">
<a href="javascript:parent.document.title = 'taken over'" style="display: block; height: 300px">Click</a>"""


def test_a_script_in_a_mail_does_nothing(stack: Stack, page: Page) -> None:
    mail = stack.inbox.store.keep("x@example.com", ["hostile@example.com"], HOSTILE)
    page.open(f"{stack.ready['inbox']}/mails/{mail.number}")
    page.click("iframe", down=0.3)
    page.wait_for("document.readyState === 'complete'")
    assert page.evaluate("document.title") == "Hostile · Firepost"
    assert page.evaluate("location.pathname") == f"/mails/{mail.number}"
    page.open(f"{stack.ready['inbox']}/api/messages/{mail.number}/html")  # what the frame shows
    page.wait_for("document.scripts.length === 2 && document.links.length === 1")
    assert any("Blocked script execution" in text for text in page.complaints())
    page.click("a")
    assert page.evaluate("document.title") == ""
    assert stack.inbox.store.find(mail.number) is not None


def test_a_click_on_a_link_in_a_mail_opens_a_tab(chromium: Chromium, stack: Stack, page: Page) -> None:
    target = f"{stack.ready['inbox']}/logs?query=from-the-mail"
    html = f"<!doctype html><a href='{target}' style='display: block; height: 300px'>Verify</a>"
    data = f"Subject: Link\r\nContent-Type: text/html\r\n\r\n{html}".encode()
    mail = stack.inbox.store.keep("x@example.com", ["link@example.com"], data)
    page.open(f"{stack.ready['inbox']}/mails/{mail.number}")
    page.wait_for("document.querySelector('iframe') !== null")

    def is_open() -> bool:
        if target not in chromium.tabs():
            page.click("iframe", down=0.3)  # a frame takes clicks a moment after it is shown
        return wait_until(lambda: target in chromium.tabs(), 1.0)

    assert wait_until(is_open, patience(30))
    assert page.evaluate("location.pathname") == f"/mails/{mail.number}"


def test_an_image_in_a_mail_is_shown(stack: Stack, page: Page) -> None:
    page.open(f"{stack.ready['inbox']}/api/messages/1/html")
    page.wait_for("document.images.length === 1 && document.images[0].naturalWidth === 8")


def test_a_fault_is_switched_on(stack: Stack, page: Page) -> None:
    page.open(f"{stack.ready['inbox']}/faults")
    page.click("input[value=refuse]")
    page.click("main form button")
    assert wait_until(lambda: stack.inbox.fault == "refuse", patience(10))
    page.click("input[value=none]")
    page.click("main form button")
    assert wait_until(lambda: stack.inbox.fault == "none", patience(10))


def test_a_dead_letter_is_replayed_and_comes_back(stack: Stack, page: Page) -> None:
    page.open(f"{stack.ready['inbox']}/queues")
    page.wait_for("document.querySelectorAll('.letter').length === 1")
    first = page.evaluate("document.querySelector('.letter').ariaLabel")
    page.click("[data-url$=replay]")
    page.wait_for(f"document.querySelector('.letter') && document.querySelector('.letter').ariaLabel !== '{first}'")


def test_the_page_says_so_when_the_stack_is_gone(chromium: Chromium) -> None:
    with Stack(StackOptions()) as stack:
        page = chromium.page()
        page.open(stack.ready["console"])
        client = firestore_client(stack.ready["firestore"], stack.options.project)
        client.document("mail/a").set({"to": "ada@example.com", "message": {"subject": "Hi", "text": "x"}})
        client.close()
        page.wait_for("document.querySelector('#list .state')?.innerText === 'SUCCESS'")
    page.wait_for_text("The local stack does not answer.")
    page.close()
