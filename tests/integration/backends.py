"""Which backends the integration tests run against: the embedded one always, Google's emulators where there are any."""

from __future__ import annotations

import os
import shutil

import pytest

#: Set in CI, where they are installed: then their absence is a failure, not a reason to skip.
GOOGLE_IS_REQUIRED = bool(os.environ.get("FIREPOST_REQUIRE_GOOGLE"))

needs_google = pytest.mark.skipif(
    not GOOGLE_IS_REQUIRED and shutil.which("gcloud") is None, reason="Google's emulators are not installed"
)

BACKENDS = ("embedded", pytest.param("google", marks=needs_google))
