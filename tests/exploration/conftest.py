"""Explorations run the state machine millions of times; with coverage measurement they would take minutes."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Exclude explorations from `make coverage`: the unit tests must cover every decision themselves."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.no_cover)
