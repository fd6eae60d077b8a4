"""Values: how JavaScript prints them."""

from __future__ import annotations

from tests.unit.sender.handlebars.case import Case

CASES = (
    Case("a string", "[{{v}}]", {"v": "s"}, "[s]"),
    Case("an empty string", "[{{v}}]", {"v": ""}, "[]"),
    Case("true", "[{{v}}]", {"v": True}, "[true]"),
    Case("false", "[{{v}}]", {"v": False}, "[false]"),
    Case("null", "[{{v}}]", {"v": None}, "[]"),
    Case("zero", "[{{v}}]", {"v": 0}, "[0]"),
    Case("an integer", "[{{v}}]", {"v": 42}, "[42]"),
    Case("a negative integer", "[{{v}}]", {"v": -7}, "[-7]"),
    Case("a number with a fraction", "[{{v}}]", {"v": 1.5}, "[1.5]"),
    Case("a tenth", "[{{v}}]", {"v": 0.1}, "[0.1]"),
    Case("a whole number with a fraction type", "[{{v}}]", {"v": 3.0}, "[3]"),
    Case("a third", "[{{v}}]", {"v": 0.3333333333333333}, "[0.3333333333333333]"),
    Case("0.1 + 0.2", "[{{v}}]", {"v": 0.30000000000000004}, "[0.30000000000000004]"),
    Case("a millionth", "[{{v}}]", {"v": 1e-06}, "[0.000001]"),
    Case("below a millionth", "[{{v}}]", {"v": 1e-07}, "[1e-7]"),
    Case("a small number with digits", "[{{v}}]", {"v": 1.25e-09}, "[1.25e-9]"),
    Case("1e20", "[{{v}}]", {"v": 1e20}, "[100000000000000000000]"),
    Case("1e21", "[{{v}}]", {"v": 1e21}, "[1e+21]"),
    Case("1.5e300", "[{{v}}]", {"v": 1.5e300}, "[1.5e+300]"),
    Case("twenty-one digits", "[{{v}}]", {"v": 1.2345678901234568e20}, "[123456789012345680000]"),
    Case("the smallest number", "[{{v}}]", {"v": 5e-324}, "[5e-324]"),
    Case("2 to the 53rd", "[{{v}}]", {"v": 9007199254740992}, "[9007199254740992]"),
    Case("a list", "[{{v}}]", {"v": [1, 2, 3]}, "[1,2,3]"),
    Case("an empty list", "[{{v}}]", {"v": []}, "[]"),
    Case("a list with null", "[{{v}}]", {"v": [1, None, 2]}, "[1,,2]"),
    Case("a list in a list", "[{{v}}]", {"v": [1, [2, [3]]]}, "[1,2,3]"),
    Case("a list with maps", "[{{v}}]", {"v": [{"a": 1}, "x"]}, "[[object Object],x]"),
    Case("a list with booleans", "[{{v}}]", {"v": [True, False]}, "[true,false]"),
    Case("a map", "[{{v}}]", {"v": {"a": 1}}, "[[object Object]]"),
    Case("an empty map", "[{{v}}]", {"v": {}}, "[[object Object]]"),
    Case("text that is not ASCII", "[{{v}}]", {"v": "Grüße, 世界 😀"}, "[Grüße, 世界 😀]"),
    Case("a false value prints, too, without escaping", "[{{{v}}}]", {"v": False}, "[false]"),
    Case("null without escaping prints nothing", "[{{{v}}}]", {"v": None}, "[]"),
    Case("zero without escaping", "[{{{v}}}]", {"v": 0}, "[0]"),
    Case("literals in their own right are names", "[{{1}}{{null}}{{undefined}}]", {}, "[]"),
    Case("data may hold a list at the top", "{{[0]}}{{length}}", ["a", "b"], "a2"),
)
