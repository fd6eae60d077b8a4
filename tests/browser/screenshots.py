"""`make screenshots`: the pictures of docs/local.md."""

from __future__ import annotations

import sys
from pathlib import Path

from local.options import StackOptions
from local.stack import Stack
from tests.browser.chromium import Chromium, find_chromium
from tests.browser.scene import write_scene

DOCS = Path(__file__).resolve().parents[2] / "docs"
#: The pages, by the name of the picture.
PICTURES = {
    "console-documents": "/console",
    "console-document": "/console/documents/order-18",
    "console-mails": "/mails/1",
}
WIDTH, HEIGHT = 1100, 560


def main() -> None:
    """Write the pictures, or end with a sentence where there is no browser."""
    program = find_chromium()
    if program is None:
        sys.exit("There is no Chromium: apt-get install chromium")
    with Stack(StackOptions()) as stack, Chromium(program) as chromium:
        write_scene(stack)
        for name, path in PICTURES.items():
            page = chromium.page(WIDTH, HEIGHT)
            page.open(stack.ready["inbox"] + path)
            if path.startswith("/mails"):
                page.wait_for("document.querySelector('iframe').contentWindow.length === 0")
            page.screenshot(DOCS / f"{name}.png")


if __name__ == "__main__":
    main()
