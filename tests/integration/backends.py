"""The backends of the integration tests: always the embedded one, and Google's emulators if installed."""

from __future__ import annotations

import os
import shutil

import pytest

#: Set in CI, where they are installed: their absence is then a failure, not a reason to skip.
GOOGLE_IS_REQUIRED = bool(os.environ.get("FIREPOST_REQUIRE_GOOGLE"))

needs_google = pytest.mark.skipif(
    not GOOGLE_IS_REQUIRED and shutil.which("gcloud") is None, reason="Google's emulators are not installed"
)

BACKENDS = ("embedded", pytest.param("google", marks=needs_google))
