"""Explorations run the state machine millions of times; measured line by line, they would take minutes."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let `make coverage` count what the unit tests reach; they must reach each decision themselves."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.no_cover)
