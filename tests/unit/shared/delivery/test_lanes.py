"""Which lane a mail is in."""

from __future__ import annotations

from typing import Any

import pytest

from shared.delivery.lanes import DEFAULT_LANE, NO_LANES, Lanes, Traits
from shared.delivery.model import DocumentState
from shared.firestore.values import Reference

LANES = Lanes.parse("bulk=template:newsletter template:digest transport:marketing, reports=transport:marketing,slow")


@pytest.mark.parametrize(
    ("document", "lane"),
    [
        pytest.param({}, "default", id="nothing said"),
        pytest.param({"lane": "slow"}, "slow", id="named"),
        pytest.param({"lane": "default"}, "default", id="the default lane named"),
        pytest.param({"lane": "fast"}, "default", id="unknown"),
        pytest.param({"lane": ""}, "default", id="empty"),
        pytest.param({"lane": 7}, "default", id="not a text"),
        pytest.param({"lane": Reference("slow")}, "default", id="a reference"),
        pytest.param({"lane": ["slow"]}, "default", id="a list"),
        pytest.param({"lane": None, "transport": "marketing"}, "bulk", id="null is not given"),
        pytest.param({"template": {"name": "digest"}}, "bulk", id="template"),
        pytest.param({"template": {"name": "welcome"}}, "default", id="another template"),
        pytest.param({"template": {"name": None}, "transport": None}, "default", id="nulls"),
        pytest.param({"template": "newsletter"}, "default", id="a template without a name"),
        pytest.param({"transport": "marketing"}, "bulk", id="transport: the first lane with the rule"),
        pytest.param({"transport": "newsletter"}, "default", id="a transport is no template"),
        pytest.param({"lane": "slow", "template": {"name": "newsletter"}}, "slow", id="the field wins over rules"),
        pytest.param({"lane": "default", "transport": "marketing"}, "default", id="also when it is the default lane"),
        pytest.param({"lane": "fast", "transport": "marketing"}, "default", id="also when it is unknown"),
    ],
)
def test_the_lane_of_a_document(document: dict[str, Any], lane: str) -> None:
    assert LANES.of(Traits.of(document)) == lane
    assert LANES.of(DocumentState.of(document | {"delivery": {"state": "RETRY"}}).traits) == lane
    assert NO_LANES.of(Traits.of(document)) == DEFAULT_LANE


@pytest.mark.parametrize(
    ("lane", "known"), [("bulk", True), ("slow", True), ("default", True), ("fast", False), ("", False)]
)
def test_a_document_may_name_the_lanes_and_the_default_one(lane: str, known: bool) -> None:
    assert LANES.has(lane) is known


_ODD = "found something else as lane "


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("bulk,", f"{_ODD}2", id="an empty name"),
        pytest.param("Bulk", f"{_ODD}1", id="a capital"),
        pytest.param("1st", f"{_ODD}1", id="a digit first"),
        pytest.param("a" * 21, f"{_ODD}1", id="too long a name"),
        pytest.param("bulk-", f"{_ODD}1", id="a hyphen at the end"),
        pytest.param("slow,default", f"{_ODD}2", id="the default lane"),
        pytest.param("bulk slow", f"{_ODD}1", id="no comma"),
        pytest.param("bulk=newsletter", f"{_ODD}1", id="a rule about nothing"),
        pytest.param("bulk=template:", f"{_ODD}1", id="a rule without a name"),
        pytest.param("bulk=to:ada", f"{_ODD}1", id="a rule about another field"),
        pytest.param("bulk,slow,bulk", "lane 3 has the name of an earlier one", id="twice"),
        pytest.param(",".join("abcdef"), "expected at most 5 lanes, found 6", id="too many"),
    ],
)
def test_lanes_that_can_not_be_meant_are_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Lanes.parse(text)


def test_no_template_is_not_one_of_that_name() -> None:
    assert Lanes.parse("bulk=template:None transport:None").of(Traits()) == DEFAULT_LANE


def test_lanes_keep_their_order_and_rules() -> None:
    assert Lanes.parse(" slow , bulk=template:news  transport:b ").rules == {
        "slow": frozenset(),
        "bulk": {"template:news", "transport:b"},
    }
