"""Encoded mails, parsed by Python's `email` package, which shares no code with the encoder."""

from __future__ import annotations

import email
import email.policy
import email.utils
import re
from collections.abc import Sequence
from email.header import decode_header, make_header
from email.message import EmailMessage, Message
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sender.document.addresses import Address, Group
from sender.message.mime import headers, parts
from sender.message.mime.parts import File

BREAKS = ("\r", "\n", "\0")
# Firestore stores Unicode without surrogates; headers also exclude line breaks and NUL.
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ANY_LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(BREAKS)), min_size=1)
EMAIL = st.from_regex(r"[a-z0-9+_-]{1,60}@[a-z0-9-]{1,60}\.[a-z]{2,10}", fullmatch=True)


def read(data: bytes) -> EmailMessage:
    """Check the properties of all messages, then parse one."""
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert data.endswith(b"\r\n")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not [defect for part in message.walk() for defect in part.defects]
    return message


def payload_of(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def read_field(field: str) -> EmailMessage:
    return read(parts.message([field], parts.text("plain", "body")))


def unified(text: str) -> str:
    """Text normalised for comparison: LF line ends, and none at the end, where a message always has one."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def a_file(**changes: object) -> File:
    given: dict[str, object] = {
        "content": b"%PDF",
        "media_type": "application/pdf",
        "disposition": "attachment",
        "filename": "a.pdf",
    }
    return File(**(given | changes))  # type: ignore[arg-type]


class TestSubject:
    @pytest.mark.parametrize(
        ("text", "field"),
        [
            pytest.param("Hello", "Subject: Hello", id="plain"),
            pytest.param("a  b", "Subject: a  b", id="two spaces"),
            pytest.param(
                "Gruß aus dem kalten Norden",
                "Subject: =?utf-8?q?Gru=C3=9F_aus_dem_kalten_Norden?=",
                id="mostly ASCII takes Q",
            ),
            pytest.param("日本", "Subject: =?utf-8?b?5pel5pys?=", id="mostly not ASCII takes B"),
            pytest.param(" x", "Subject: =?utf-8?q?_x?=", id="space at the start is kept"),
            pytest.param("=?x?=", "Subject: =?utf-8?b?PT94Pz0=?=", id="what looks encoded is not decoded"),
            pytest.param(f"a{' ' * 60}b", f"Subject: a{' ' * 60}b", id="spaces that fit into a line"),
            pytest.param(
                "word " * 18 + "end",
                "Subject:" + " word" * 14 + "\r\n" + " word" * 4 + " end",
                id="folded before a word",
            ),
        ],
    )
    def test_is_written_as(self, text: str, field: str) -> None:
        assert headers.unstructured("Subject", text) == field
        assert read_field(field)["Subject"] == text

    @pytest.mark.parametrize("text", [f"a{' ' * size}b" for size in (70, 100, 2000)])
    def test_with_more_spaces_than_fit_into_a_line_is_encoded(self, text: str) -> None:
        field = headers.unstructured("Subject", text)
        assert max(map(len, field.split("\r\n"))) <= 78
        assert read_field(field)["Subject"] == text

    @given(ANY_LINE)
    def test_round_trips_any_text(self, text: str) -> None:
        field = headers.unstructured("Subject", text)
        assert str(read_field(field)["Subject"]) == text

    @given(st.text("日本語ñé😀a ", min_size=30, max_size=300))
    def test_words_have_75_characters_at_most_and_lines_76(self, text: str) -> None:
        field = headers.unstructured("Subject", text)
        if "=?" in field:
            assert all(len(line) <= 76 for line in field.split("\r\n"))
            assert all(len(word) <= 75 for word in field.split(" ")[1:])

    @given(st.text("日本語ñé😀", min_size=30, max_size=300))
    def test_no_character_is_split_between_words(self, text: str) -> None:
        words = re.findall(r"=\?utf-8\?[bq]\?[^?]*\?=", headers.unstructured("Subject", text))
        read_alone = [str(read_field(f"Subject: {word}")["Subject"]) for word in words]
        assert "".join(read_alone) == text

    def test_a_lone_surrogate_becomes_a_question_mark(self) -> None:
        assert read_field(headers.unstructured("Subject", "a\ud800b"))["Subject"] == "a?b"


class TestAddresses:
    @pytest.mark.parametrize(
        ("entries", "field"),
        [
            pytest.param([Address("", "a@b.c")], "To: a@b.c", id="bare"),
            pytest.param([Address("Ada Lovelace", "a@b.c")], "To: Ada Lovelace <a@b.c>", id="atoms"),
            pytest.param([Address("J. Doe", "a@b.c")], 'To: "J. Doe" <a@b.c>', id="quoted for a dot"),
            pytest.param([Address('A "B" \\', "a@b.c")], 'To: "A \\"B\\" \\\\" <a@b.c>', id="quotes escaped"),
            pytest.param([Address("Ümit, Co.", "a@b.c")], "To: =?utf-8?b?w5xtaXQsIENvLg==?= <a@b.c>", id="encoded"),
            pytest.param([Address("=?x?=", "a@b.c")], "To: =?utf-8?b?PT94Pz0=?= <a@b.c>", id="looks encoded"),
            pytest.param(
                [Group("Team", (Address("", "a@b.c"), Address("B", "d@e.f")))],
                "To: Team: a@b.c, B <d@e.f>;",
                id="group",
            ),
            pytest.param([Group("undisclosed-recipients", ())], "To: undisclosed-recipients:;", id="empty group"),
            pytest.param(
                [Group("", (Address("", "a@b.c"),)), Address("", "d@e.f")],
                'To: "": a@b.c;, d@e.f',
                id="group without a name",
            ),
            pytest.param([Address("Ü", "ü@b.c")], "To: =?utf-8?b?w5w=?= <ü@b.c>", id="SMTPUTF8 address stays raw"),
        ],
    )
    def test_are_written_as(self, entries: Sequence[Address | Group], field: str) -> None:
        assert headers.address_list("To", entries) == field

    @given(st.lists(st.tuples(ANY_LINE | st.just(""), EMAIL), min_size=1, max_size=20))
    def test_with_any_names_round_trip(self, pairs: list[tuple[str, str]]) -> None:
        field = headers.address_list("To", [Address(name, address) for name, address in pairs])
        read_field(field)
        # The default policy would keep the space between two encoded words of a name.
        found = email.utils.getaddresses([field.removeprefix("To:")])
        assert [(str(make_header(decode_header(name))), address) for name, address in found] == pairs

    def test_are_folded_only_between_addresses(self) -> None:
        many = [Address("", f"{'x' * 40}{number}@example.com") for number in range(50)]
        lines = headers.address_list("To", many).split("\r\n")
        assert len(lines) == 50
        assert all(line.strip().rstrip(",").endswith("@example.com") for line in lines)


class TestOwnHeaders:
    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(f"<https://example.com/u/{'t' * 200}>", id="a long URL"),
            pytest.param(f"<{'i' * 300}@example.com>", id="a long message id"),
            pytest.param('{"category": "=?x?="}', id="JSON, and what looks encoded"),
        ],
    )
    def test_in_ascii_are_kept(self, value: str) -> None:
        field = headers.user_defined("X-Own", value)
        assert field.replace("\r\n", "") == f"X-Own: {value}"

    def test_encode_only_the_words_that_are_not_ascii(self) -> None:
        field = headers.user_defined("List-Id", "Ünal Öz' list <list.example.org>")
        assert field == "List-Id: =?utf-8?b?w5xuYWwgw5Z6Jw==?= list <list.example.org>"

    @given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=200))
    def test_of_any_printable_text_round_trip(self, value: str) -> None:
        if "=?" not in value:
            assert str(read_field(headers.user_defined("X-Own", value))["X-Own"]) == value

    @pytest.mark.parametrize("break_", BREAKS)
    def test_with_a_line_break_are_refused_by_every_writer(self, break_: str) -> None:
        bad = f"a{break_}Bcc: x@y.z"
        for write in (headers.raw, headers.unstructured, headers.user_defined):
            with pytest.raises(ValueError, match="line break"):
                write("X-Own", bad)
            with pytest.raises(ValueError, match="line break"):
                write("X-Own", "ü" + bad)
            with pytest.raises(ValueError, match=r"line break|header name"):
                write(bad, "value")
        for entry in (Address(bad, "a@b.c"), Address("", bad), Address("ü" + bad, "a@b.c"), Group(bad, ())):
            with pytest.raises(ValueError, match="line break"):
                headers.address_list("To", [entry])
        for changes in (
            {"filename": bad},
            {"media_type": bad},
            {"content_id": bad},
            {"disposition": bad},
            {"headers": (("X-Own", bad),)},
        ):
            with pytest.raises(ValueError, match="line break"):
                parts.file(a_file(**changes))

    def test_beyond_a_line_s_limit_are_refused(self) -> None:
        with pytest.raises(ValueError, match="998 bytes"):
            headers.raw("X-Own", "x" * 999)


class TestText:
    @pytest.mark.parametrize(
        ("content", "encoding"),
        [
            pytest.param("Hello\nworld", "7bit", id="plain"),
            pytest.param("", "7bit", id="empty"),
            pytest.param("x" * 78, "7bit", id="line at the limit"),
            pytest.param("x" * 79, "quoted-printable", id="line beyond the limit"),
            pytest.param("x" * 5000, "quoted-printable", id="line beyond SMTP's limit"),
            pytest.param("Viele Grüße aus Köln am Rhein", "quoted-printable", id="a few that are not ASCII"),
            pytest.param("日本語の手紙" * 20, "base64", id="few that are"),
            pytest.param("bell\a", "quoted-printable", id="control character"),
        ],
    )
    def test_uses_the_shortest_encoding(self, content: str, encoding: str) -> None:
        message = read(parts.message([], parts.text("plain", content)))
        assert message["Content-Transfer-Encoding"] == encoding
        assert unified(message.get_content()) == content

    @given(ANY_TEXT)
    def test_round_trips(self, content: str) -> None:
        message = read(parts.message([], parts.text("html", content)))
        assert message.get_content_type() == "text/html"
        assert unified(payload_of(message).decode()) == unified(content)

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_has_the_line_ends_of_mail(self, end: str) -> None:
        for content in ("a{}b{}", "ü{}b{}", "日本語{}日本語の手紙{}"):
            payload = read(parts.message([], parts.text("plain", content.replace("{}", end)))).get_payload(decode=True)
            assert payload == content.replace("{}", "\r\n").encode()

    def test_with_lone_surrogates_is_sent_with_question_marks(self) -> None:
        message = read(parts.message([], parts.text("plain", "a\udfffb")))
        assert unified(message.get_content()) == "a?b"


class TestFile:
    def test_is_written_as(self) -> None:
        entity = parts.file(a_file(disposition="inline", content_id="logo@x", headers=(("X-Own", "1"),)))
        assert entity.headers.splitlines() == [
            'Content-Type: application/pdf; name="a.pdf"',
            "Content-Transfer-Encoding: base64",
            'Content-Disposition: inline; filename="a.pdf"',
            "Content-ID: <logo@x>",
            "X-Own: 1",
        ]
        assert b"".join(entity.body) == b"JVBERg=="

    @pytest.mark.parametrize(
        ("filename", "written"),
        [
            pytest.param("a b.pdf", ['filename="a b.pdf"', 'name="a b.pdf"'], id="plain"),
            pytest.param('a"b\\c.pdf', [r'filename="a\"b\\c.pdf"', r'name="a\"b\\c.pdf"'], id="escaped"),
            pytest.param(
                "Résumé.pdf",
                ["filename*=utf-8''R%C3%A9sum%C3%A9.pdf", 'name="=?utf-8?b?UsOpc3Vtw6kucGRm?="'],
                id="accents",
            ),
            pytest.param(
                "日.pdf", ["filename*=utf-8''%E6%97%A5.pdf", 'name="=?utf-8?b?5pelLnBkZg==?="'], id="no ASCII for it"
            ),
            pytest.param(
                "=?x?=.pdf", ['filename="=?x?=.pdf"', 'name="=?utf-8?b?PT94Pz0ucGRm?="'], id="what looks encoded"
            ),
        ],
    )
    def test_name_is_written_as(self, filename: str, written: list[str]) -> None:
        lines = parts.file(a_file(filename=filename)).headers.replace("\r\n ", " ").splitlines()
        assert lines[2] == f"Content-Disposition: attachment; {written[0]}"
        assert lines[0] == f"Content-Type: application/pdf; {written[1]}"

    @pytest.mark.parametrize("filename", ["a.pdf", "Größe 日本.pdf", "x" * 200 + ".pdf", "ä" * 100 + ".pdf"])
    def test_name_is_the_same_for_old_and_new_clients(self, filename: str) -> None:
        entity = parts.file(a_file(filename=filename))
        for policy in (email.policy.default, email.policy.compat32):
            assert email.message_from_bytes(parts.message([], entity), policy=policy).get_filename() == filename
        old = email.message_from_string(entity.headers.replace("filename", "not-known"))
        assert str(make_header(decode_header(str(old.get_param("name"))))) == filename

    def test_a_name_in_the_media_type_is_kept(self) -> None:
        entity = parts.file(a_file(media_type="application/pdf; name=b.pdf"))
        assert entity.headers.startswith("Content-Type: application/pdf; name=b.pdf\r\n")

    @given(st.text("aü日😀 ", min_size=1, max_size=300).filter(str.strip))
    def test_a_long_name_is_split_between_characters(self, filename: str) -> None:
        field = headers.with_filename("Content-Disposition", "attachment", filename)
        assert max(map(len, field.split("\r\n"))) <= 78
        for piece in re.findall(r"filename\*[0-9]*\*?=(?:utf-8'')?([^;\"]+)", field):
            assert unquote(piece, errors="strict")

    @given(ANY_LINE)
    def test_any_name_round_trips(self, filename: str) -> None:
        assume(not re.fullmatch('<.*>|".*"', filename.strip(), re.DOTALL))  # the parser takes these off twice
        message = read(parts.message([], parts.file(a_file(filename=filename))))
        assert message.get_filename() == filename.strip()  # the parser strips it

    @given(st.binary(max_size=500))
    def test_any_content_round_trips(self, content: bytes) -> None:
        message = read(parts.message([], parts.file(a_file(content=content))))
        assert message.get_payload(decode=True) == content

    @pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
    def test_nested_messages_are_not_encoded(self, end: bytes) -> None:
        inner = end.join([b"Subject: inner", b"", b"Hello", b""])
        message = read(parts.message([], parts.file(a_file(content=inner, media_type="message/rfc822"))))
        assert message.get_content()["Subject"] == "inner"

    @pytest.mark.parametrize(
        ("media_type", "content"),
        [
            pytest.param("message/rfc822", b"Subject: \xfc\r\n\r\n", id="message in 8bit"),
            pytest.param("multipart/mixed; boundary=x", b"--x--", id="multipart"),
        ],
    )
    def test_nested_messages_that_need_encoding_are_sent_as_binary(self, media_type: str, content: bytes) -> None:
        message = read(parts.message([], parts.file(a_file(content=content, media_type=media_type))))
        assert message.get_content_type() == "application/octet-stream"
        assert message.get_payload(decode=True) == content


class TestMultipart:
    def test_of_one_part_is_that_part(self) -> None:
        part = parts.text("plain", "x")
        assert parts.multipart("mixed", [part], "seed") is part

    def test_boundary_follows_from_the_seed(self) -> None:
        pair = [parts.text("plain", "x"), parts.text("html", "y")]
        assert parts.multipart("mixed", pair, "seed") == parts.multipart("mixed", pair, "seed")
        assert parts.multipart("mixed", pair, "seed") != parts.multipart("mixed", pair, "other")

    def test_boundary_is_changed_when_a_part_holds_it(self) -> None:
        first = parts.multipart("mixed", [parts.text("plain", "x"), parts.text("plain", "y")], "seed")
        boundary = re.search(r'boundary="(.+)"', first.headers)
        assert boundary
        hostile = f"--{boundary[1]}\nContent-Type: text/html\n\nforged"
        root = parts.multipart("mixed", [parts.text("plain", hostile), parts.text("plain", "y")], "seed")
        found = [unified(part.get_content()) for part in read(parts.message([], root)).iter_parts()]
        assert found == [hostile, "y"]

    @given(st.lists(ANY_TEXT, min_size=2, max_size=4), st.lists(st.binary(max_size=50), min_size=1, max_size=3))
    def test_nested_parts_round_trip(self, texts: list[str], files: list[bytes]) -> None:
        alternative = parts.multipart("alternative", [parts.text("plain", text) for text in texts], "seed")
        attached = [parts.file(a_file(content=content)) for content in files]
        message = read(parts.message([], parts.multipart("mixed", [alternative, *attached], "seed")))
        first, *others = message.iter_parts()
        assert [unified(payload_of(part).decode()) for part in first.iter_parts()] == [unified(text) for text in texts]
        assert [part.get_payload(decode=True) for part in others] == files
