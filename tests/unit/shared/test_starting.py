"""What a start imports, and how."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.services import ROOT
from shared import starting
from shared.errors import Misconfigured

#: Of Google's libraries, what nobody here calls; of ours, what belongs to other commands.
NOT_NEEDED = {
    "dispatcher.bootstrap": ("google.cloud.pubsub_v1", "opentelemetry.sdk", "sender"),
    "sender.bootstrap": ("google.cloud.pubsub_v1", "opentelemetry.sdk", "css_inline", "inscriptis", "sender.check"),
    "dispatcher.__main__": ("google", "flask", "pydantic"),
    "sender.__main__": ("google", "flask", "pydantic"),
}


@pytest.fixture
def unfrozen() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.parametrize("module", NOT_NEEDED)
def test_a_start_does_not_import_what_it_does_not_need(module: str) -> None:
    show = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {*done.stdout.split()}
    assert module in imported
    assert not imported & {*NOT_NEEDED[module]}


@pytest.mark.usefixtures("unfrozen")
def test_what_is_imported_is_never_looked_through_for_garbage() -> None:
    before = gc.get_freeze_count()
    with starting.importing():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before


@pytest.mark.usefixtures("unfrozen")
def test_a_failed_import_leaves_the_garbage_collector_on() -> None:
    with pytest.raises(ModuleNotFoundError), starting.importing():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_a_wrong_setting_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise Misconfigured("PORT=x: expected a number.")

    with pytest.raises(SystemExit) as ended:
        starting.start(main)
    assert ended.value.code == starting.EXIT_MISCONFIGURED
    assert capsys.readouterr().err == "Firepost can't start: PORT=x: expected a number.\n"
