from __future__ import annotations

import pytest

from sender.document.addresses import Address, BadAddress, Group, mailboxes, parse_addresses

ADA = Address("Ada", "ada@example.com")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ada@example.com", [Address("", "ada@example.com")], id="bare"),
        pytest.param("<ada@example.com>", [Address("", "ada@example.com")], id="in angle brackets"),
        pytest.param("Ada <ada@example.com>", [ADA], id="with a name"),
        pytest.param("Ada<ada@example.com>", [ADA], id="without a space"),
        pytest.param("  Ada  < ada@example.com >  ", [ADA], id="spaces all around"),
        pytest.param("Ada ada@example.com", [ADA], id="name without angle brackets"),
        pytest.param("ada@example.com Ada", [ADA], id="name behind"),
        pytest.param("ada@example.com (Ada)", [ADA], id="name in a comment"),
        pytest.param("Ada (of Ockham) <ada@example.com>", [ADA], id="comment beside a name is dropped"),
        pytest.param("(a (nested) one) Ada <ada@example.com>", [ADA], id="nested comment"),
        pytest.param(
            '"Lovelace, Ada" <ada@example.com>', [Address("Lovelace, Ada", "ada@example.com")], id="quoted comma"
        ),
        pytest.param(r'"A \"B\" \\C" <a@b.c>', [Address('A "B" \\C', "a@b.c")], id="escapes in quotes"),
        pytest.param(
            '"eve@evil.example" <a@b.c>', [Address("eve@evil.example", "a@b.c")], id="quoted address is a name"
        ),
        pytest.param("a@b.c <a@b.c>", [Address("", "a@b.c")], id="the address itself is no name"),
        pytest.param('"A@B.c" <A@B.c>', [Address("", "A@b.c")], id="the address itself, quoted"),
        pytest.param('"a@b.c" <d@e.f>', [Address("a@b.c", "d@e.f")], id="another address is a name"),
        pytest.param("I <3 cats <a@b.c>", [Address("I <3 cats", "a@b.c")], id="stray angle bracket in a name"),
        pytest.param("Ada <ada@example.com", [ADA], id="angle bracket left open"),
        pytest.param('"Ada <a@b.c>" <a@b.c>', [Address("Ada <a@b.c>", "a@b.c")], id="angle brackets in quotes"),
        pytest.param("a@b.c, d@e.f", [Address("", "a@b.c"), Address("", "d@e.f")], id="two"),
        pytest.param("a@b.c; d@e.f", [Address("", "a@b.c"), Address("", "d@e.f")], id="two by semicolon"),
        pytest.param(" ,a@b.c,, ", [Address("", "a@b.c")], id="empty entries are skipped"),
        pytest.param("", [], id="empty"),
        pytest.param(" \t", [], id="blank"),
        pytest.param(
            "Team: a@b.c, Ada <ada@example.com>;, d@e.f",
            [Group("Team", (Address("", "a@b.c"), ADA)), Address("", "d@e.f")],
            id="group",
        ),
        pytest.param("Team: a@b.c", [Group("Team", (Address("", "a@b.c"),))], id="group left open"),
        pytest.param("undisclosed-recipients:;", [Group("undisclosed-recipients", ())], id="empty group"),
        pytest.param("mailto:a@b.c", [Group("mailto", (Address("", "a@b.c"),))], id="mailto reads as a group"),
        pytest.param("user@localhost", [Address("", "user@localhost")], id="no dot in the domain"),
        pytest.param("a..b@x.y", [Address("", "a..b@x.y")], id="two dots in the local part"),
        pytest.param("a@my_host.x.", [Address("", "a@my_host.x")], id="underscore and final dot in the domain"),
        pytest.param("a@[IPv6:2001:db8::1]", [Address("", "a@[IPv6:2001:db8::1]")], id="address literal"),
        pytest.param('"john doe"@x.y', [Address("", '"john doe"@x.y')], id="quoted local part"),
        pytest.param('John <"john doe"@x.y>', [Address("John", '"john doe"@x.y')], id="quoted local part in brackets"),
        pytest.param("Ada@Example.COM", [Address("", "Ada@example.com")], id="only the domain becomes lower case"),
        pytest.param("ada@Exämple.com", [Address("", "ada@xn--exmple-cua.com")], id="domain in A-labels"),
        pytest.param("ada@日本。jp", [Address("", "ada@xn--wgv71a.jp")], id="ideographic full stop"),
        pytest.param("üñ@x.y", [Address("", "üñ@x.y")], id="local part in UTF-8 is kept"),
    ],
)
def test_understands(text: str, expected: list[Address | Group]) -> None:
    assert list(parse_addresses(text)) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("ada", "without an @", id="a word"),
        pytest.param("Ada <ada>", "without an @", id="a word in brackets"),
        pytest.param("Ada <>", "without an @", id="nothing in brackets"),
        pytest.param('"ada@example.com"', "without an @", id="all in quotes"),
        pytest.param('"Ada <ada@example.com>', "without an @", id="quote left open"),
        pytest.param("@example.com", "nothing before the @", id="no local part"),
        pytest.param("ada@", "nothing after the @", id="no domain"),
        pytest.param("a@b@c.d", "before the @", id="two @"),
        pytest.param("<a b@c.d>", "before the @", id="space in the local part"),
        pytest.param("<a@b c.d>", "impossible domain", id="space in the domain"),
        pytest.param("a@b..c", "impossible domain", id="empty label"),
        pytest.param("a@[1.2.3.4", "impossible domain", id="address literal left open"),
        pytest.param("a@b.c>", "impossible domain", id="stray bracket"),
        pytest.param("a@b.c d@e.f", "without a comma", id="two with a space between"),
        pytest.param("<a@b.c> <d@e.f>", "without a comma", id="two in brackets with a space between"),
        pytest.param("Ada <a@b.c, Bob <d@e.f>", "before the @", id="first bracket left open"),
        pytest.param("a: b: c@d.e;", "within a group", id="group in a group"),
        pytest.param("a@b.c\r\nBcc: d@e.f", "line break", id="CRLF"),
        pytest.param("Ada\n <a@b.c>", "line break", id="LF in a name"),
        pytest.param("a\0@b.c", "control character", id="NUL"),
        pytest.param("a@ex＠mple.com", "impossible", id="full-width @"),
        pytest.param("a@exämple，b.com", "impossible", id="full-width comma"),
        pytest.param("a@-ü.com", "internationalised domain", id="label that starts with a hyphen"),
        pytest.param("\ud800@b.c", "before the @", id="lone surrogate in the local part"),
        pytest.param("a@\ud800.c", "impossible", id="lone surrogate in the domain"),
        pytest.param("a@" + "b" * 256, "longer than 255", id="long domain"),
        pytest.param("ü" * 200 + "@b.c", "longer than 320", id="long local part, in bytes"),
    ],
)
def test_refuses(text: str, found: str) -> None:
    with pytest.raises(BadAddress, match=found):
        parse_addresses(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("Acme, Inc. <a@b.c>", [Address("Acme, Inc.", "a@b.c")], id="one comma"),
        pytest.param("Ada, Bob, and Co <a@b.c>", [Address("Ada, Bob, and Co", "a@b.c")], id="two commas"),
        pytest.param("a@b.c, Acme, Inc. <d@e.f>", [Address("", "a@b.c"), Address("Acme, Inc.", "d@e.f")], id="second"),
        pytest.param(
            "Ada <a@b.c>, Bob <d@e.f>", [Address("Ada", "a@b.c"), Address("Bob", "d@e.f")], id="two addresses"
        ),
    ],
)
def test_unquoted_commas_in_names_are_accepted_on_request(text: str, expected: list[Address]) -> None:
    assert list(parse_addresses(text, joins_names=True)) == expected


@pytest.mark.parametrize("text", ["Acme, Inc.", "Acme, a@b.c", "Acme, <a>"])
def test_joined_names_still_need_an_address(text: str) -> None:
    with pytest.raises(BadAddress, match="without an @"):
        parse_addresses(text, joins_names=True)


def test_mailboxes_include_the_members_of_groups() -> None:
    entries = parse_addresses("a@b.c, Team: d@e.f, g@h.i;, j@k.l")
    assert [address.email for address in mailboxes(entries)] == ["a@b.c", "d@e.f", "g@h.i", "j@k.l"]


@pytest.mark.parametrize(("email", "domain"), [("a@b.c", "b.c"), ('"a@b"@c.d', "c.d")])
def test_the_domain_follows_the_last_at_sign(email: str, domain: str) -> None:
    assert Address("", email).domain == domain


@pytest.mark.timeout(3)
@pytest.mark.parametrize("piece", ['"', '\\"', "(", "((a", "<", "<a", "@[", "a@", ": ", '"a"@', "a,"])
def test_malformed_text_is_parsed_in_linear_time(piece: str) -> None:
    text = '"x' + piece * (100_000 // len(piece))
    for start in ("", '"'):
        try:
            parse_addresses(start + text)
        except BadAddress:
            continue


@pytest.mark.parametrize(
    "text", ["a" * 2001, "a" * 1996 + " <a@b.c>", '"' + "a" * 1995 + '" <a@b.c>', "a@b.c," * 16_667]
)
def test_text_beyond_the_limits_is_rejected(text: str) -> None:
    with pytest.raises(BadAddress, match="of more than"):
        parse_addresses(text)


def test_text_within_the_limits_is_parsed() -> None:
    assert len(parse_addresses("a@b.c," * 16_666)) == 16_666
    assert parse_addresses("a" * 1990 + " <a@b.c>") == (Address("a" * 1990, "a@b.c"),)


@pytest.mark.parametrize(
    "text",
    [
        "\u200bada@example.com",
        "\ufeffada@example.com",
        "ada@example.com\u200b",
        "\u202aada@example.com\u202c",
        "\u2060 ada@example.com",
        "<\u200b ada@example.com \xad>",
        "\xa0ada@example.com\u3000",
        "\ufe0fada@example.com\ufe0f",
        "\u3164\u115fada@example.com\u2800",
        "ada@example.com\U000e0061\U000e007f",
        "\u200b <ada@example.com>",
    ],
)
def test_invisible_characters_at_the_ends_are_stripped(text: str) -> None:
    [address] = parse_addresses(text)
    assert isinstance(address, Address)
    assert address.email == "ada@example.com"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ad\u200ba@example.com", "200B"),
        ("ada\u00ad@example.com", "00AD"),
        ("ada@\u200bexample.com", "200B"),
        ("ada@exam\u2060ple.com", "2060"),
        ("Ada <a\ufeffda@example.com>", "FEFF"),
        ("a\u200dda@example.com", "200D"),
        ("a\U000e0061da@example.com", "E0061"),
        ("ad\ufe0fa@example.com", "FE0F"),
        ("ad\U000e0100a@example.com", "E0100"),
        ("ad\u3164a@example.com", "3164"),
        ("ad\u115fa@example.com", "115F"),
        ("ad\uffa0a@example.com", "FFA0"),
        ("ad\u034fa@example.com", "034F"),
        ("ad\u180ba@example.com", "180B"),
        ("ad\u2800a@example.com", "2800"),
        ("ada@exam\ufe0fple.com", "FE0F"),
        ("ü\u200dü@example.com", "200D"),
        ("日本\u200d@example.com", "200D"),
        ("ü\ufe0f@example.com", "FE0F"),
    ],
)
def test_an_invisible_character_inside_is_rejected_by_name(text: str, code: str) -> None:
    with pytest.raises(BadAddress, match=rf"an invisible character \(U\+{code}\)"):
        parse_addresses(text)


@pytest.mark.parametrize(
    "local",
    [
        pytest.param("می\u200cخواهم", id="a joiner in Persian"),
        pytest.param("❤\ufe0f", id="a selector after a symbol"),
        pytest.param("❤\ufe0f\u200d🔥", id="joined emoji"),
        pytest.param("🏴\U000e0067\U000e0062\U000e007f", id="the tags of a flag"),
        pytest.param("葛\U000e0100", id="a variant of an ideograph"),
    ],
)
def test_invisible_characters_that_change_their_neighbours_are_accepted(local: str) -> None:
    assert parse_addresses(f"{local}@example.com") == (Address("", f"{local}@example.com"),)


def test_a_name_of_invisible_characters_is_none() -> None:
    assert parse_addresses("\u200b\u2060 <a@b.c>, ❤\ufe0f <d@e.f>") == (
        Address("", "a@b.c"),
        Address("❤\ufe0f", "d@e.f"),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Acme: Orders <f@example.com>", [Address("Acme: Orders", "f@example.com")]),
        ("Acme, Inc.: Orders <f@example.com>", [Address("Acme, Inc.: Orders", "f@example.com")]),
        ("Team: a@b.c, d@e.f;", [Group("Team", (Address("", "a@b.c"), Address("", "d@e.f")))]),
        ("Acme: f@example.com", [Address("Acme:", "f@example.com")]),
    ],
)
def test_a_colon_in_a_joined_name_starts_no_group(text: str, expected: list[Address | Group]) -> None:
    assert list(parse_addresses(text, joins_names=True)) == expected


@pytest.mark.parametrize(
    "literal",
    [
        "a>b",
        "<b",
        "foo",
        "999.1.1.1",
        "1.2.3",
        "IPv6:zz",
        "IPv6:",
        "IPv6:fe80::1%eth0",
        ":x",
        "",
        "a-:b",
        "٣.1.1.1",
        "x:a\\b",
    ],
)
def test_an_address_literal_is_an_ip_address_or_has_a_tag(literal: str) -> None:
    for text in (f"a@[{literal}]", f"Ada <a@[{literal}]>"):
        with pytest.raises(BadAddress):
            parse_addresses(text)


@pytest.mark.parametrize("literal", ["1.2.3.4", "IPv6:::1", "ipv6:2001:db8::1", "x-tag:any/thing"])
def test_address_literals(literal: str) -> None:
    assert parse_addresses(f"a@[{literal}]") == (Address("", f"a@[{literal}]"),)
