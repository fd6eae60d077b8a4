"""Mails from templates: rendering, merging with the message, caching."""

from __future__ import annotations

from typing import Any

import pytest

from sender.document.document import MailDocument, parse_document
from sender.message import template_repository
from sender.message.template_repository import FirestoreTemplates
from sender.message.templates import compile_mail_template, render
from shared.deadline import Deadline
from shared.errors import ErrorCode, NotSendable, NotSent, Unavailable
from shared.firestore.values import Value, decode, decode_fields, encode_fields
from tests.fakes import TemplateDatabase
from tests.unit.shared.firestore.test_values import vector


class Seconds:
    """A monotonic clock that only tests advance; with `step`, each reading advances it."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 1000.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def document(data: dict[str, Any] | None = None, message: dict[str, Any] | None = None, **fields: Any) -> MailDocument:
    template = {"name": "welcome", "data": data or {}}
    return parse_document({"to": "ada@example.com", "template": template, "message": message} | fields)


def made(
    template: dict[str, Any],
    data: dict[str, Any] | None = None,
    message: dict[str, Any] | None = None,
    **others: dict[str, Any],
) -> MailDocument:
    """The mail document after rendering the template `welcome`; `others` are more templates."""
    templates = FirestoreTemplates(TemplateDatabase({"welcome": template, **others}), "templates")
    return render(document(data, message), templates, Deadline.after(60))


def parts(rendered: MailDocument) -> dict[str, str]:
    message = rendered.message
    assert message is not None
    texts = {name: getattr(message, name) for name in ("subject", "text", "html", "amp")}
    return {name: text for name, text in texts.items() if text is not None}


def refused(*args: Any, **others: Any) -> str:
    with pytest.raises(NotSendable) as caught:
        made(*args, **others)
    assert caught.value.code is ErrorCode.TEMPLATE
    return str(caught.value)


def test_the_documentations_example() -> None:
    template = {
        "subject": "@{{username}} is now following you!",
        "html": "Just writing to let you know that <code>@{{username}}</code> ({{name}}) is now following you.",
        "attachments": [{"filename": "{{username}}.jpg", "path": "{{imagePath}}"}],
    }
    data = {"username": "ada", "name": "Ada Lovelace", "imagePath": "https://example.com/path/to/file/image-name.jpg"}
    rendered = made(template, data)
    assert parts(rendered) == {
        "subject": "@ada is now following you!",
        "html": "Just writing to let you know that <code>@ada</code> (Ada Lovelace) is now following you.",
    }
    assert rendered.message
    [attachment] = rendered.message.attachments
    assert (attachment.filename, attachment.url) == ("ada.jpg", "https://example.com/path/to/file/image-name.jpg")


def test_markup_is_escaped_in_html_and_amp_but_not_in_subject_and_text() -> None:
    source = "{{v}} {{{v}}}"
    assert parts(made(dict.fromkeys(("subject", "text", "html", "amp"), source), {"v": "<&"})) == {
        "subject": "<& <&",
        "text": "<& <&",
        "html": "&lt;&amp; <&",
        "amp": "&lt;&amp; <&",
    }


@pytest.mark.parametrize(
    ("template", "message", "expected"),
    [
        pytest.param({"text": "T"}, None, {"text": "T"}, id="no message"),
        pytest.param({"text": "T"}, {}, {"text": "T"}, id="an empty message"),
        pytest.param(
            {"text": "T"},
            {"subject": "s", "text": "t", "html": "h"},
            {"subject": "s", "text": "T", "html": "h"},
            id="what the template has replaces what the message says",
        ),
        pytest.param(
            {"text": "T", "html": None, "subject": ""},
            {"subject": "s", "html": "h"},
            {"subject": "s", "text": "T", "html": "h"},
            id="null and empty are as good as absent in a template",
        ),
        pytest.param(
            {"text": "{{nothing}}", "html": "H"},
            {"text": "t"},
            {"text": "", "html": "H"},
            id="an empty result replaces",
        ),
        pytest.param({"subject": "S"}, {"text": "t"}, {"subject": "S", "text": "t"}, id="only a subject"),
    ],
)
def test_template_over_message(
    template: dict[str, Any], message: dict[str, Any] | None, expected: dict[str, str]
) -> None:
    assert parts(made(template, message=message)) == expected


@pytest.mark.parametrize(
    ("template", "message", "names"),
    [
        pytest.param({"attachments": [{"filename": "T"}]}, ["m"], ["T"], id="the template's replace the message's"),
        pytest.param({"attachments": []}, ["m"], [], id="also if there are none"),
        pytest.param({"attachments": None}, ["m"], ["m"], id="null keeps the message's"),
        pytest.param({}, ["m"], ["m"], id="so does nothing"),
        pytest.param({"attachments": [{}, {"filename": "T"}, None]}, [], ["T"], id="empty ones are left out"),
    ],
)
def test_attachments_over_attachments(template: dict[str, Any], message: list[str], names: list[str]) -> None:
    said = {"attachments": [{"filename": name} for name in message]}
    rendered = made({"text": "T"} | template, message=said).message
    assert rendered
    assert [attachment.filename for attachment in rendered.attachments] == names


def test_without_a_template_the_document_stays_as_it_is() -> None:
    plain = parse_document({"to": "ada@example.com", "message": {"subject": "s", "text": "t"}})
    database = TemplateDatabase()
    assert render(plain, FirestoreTemplates(database, "templates"), Deadline.after(60)) is plain
    assert database.asked == []


@pytest.mark.parametrize(
    ("source", "subject"),
    [
        ("a\nb", "a b"),
        ("a\r\nb\n", "a b"),
        ("\n  a  \n\n  b\n", "a b"),
        ("{{v}}", "x Bcc: y@z.example"),
        ("a  b", "a  b"),
    ],
)
def test_a_subject_is_one_line(source: str, subject: str) -> None:
    assert parts(made({"subject": source, "text": "t"}, {"v": "x\r\nBcc: y@z.example"}))["subject"] == subject


def test_references_and_vectors_are_printed_wherever_they_are() -> None:
    raw = Value(
        map_value={
            "fields": {
                "user": Value(reference_value="projects/p/databases/d/documents/users/u"),
                "vectors": Value(array_value={"values": [vector({"double_value": 1.5}, {"double_value": 2})]}),
            }
        }
    )
    template = {"text": "{{m.user}} {{#each m.vectors}}{{#each this}}<{{this}}>{{/each}} {{this}}{{/each}}"}
    assert parts(made(template, {"m": decode(raw)}))["text"] == (
        "projects/p/databases/d/documents/users/u <1.5><2> 1.5,2"
    )


def test_partials_exist_only_for_their_parts() -> None:
    template = {"html": "<p>{{> footer}}</p>", "text": "{{> footer}}"}
    footer = {"partial": True, "html": "<i>{{shop}}</i>", "text": "-- {{shop}}"}
    assert parts(made(template, {"shop": "Tea & Co"}, footer=footer)) == {
        "html": "<p><i>Tea &amp; Co</i></p>",
        "text": "-- Tea & Co",
    }
    assert refused(template, footer={"partial": True, "text": "-"}) == (
        "Template 'templates/welcome' can't be rendered: html, line 1, column 4: There is no partial 'footer'."
    )


def test_partials_are_read_only_if_one_is_called() -> None:
    database = TemplateDatabase({"welcome": {"text": "t"}})
    render(document(), FirestoreTemplates(database, "templates"), Deadline.after(60))
    assert database.asked == ["templates/welcome"]


def test_a_partial_may_be_named_by_its_field() -> None:
    assert parts(made({"text": "{{> foot}}"}, x1={"partial": True, "name": "foot", "text": "F"})) == {"text": "F"}


def test_a_template_may_be_named_by_its_field() -> None:
    templates = FirestoreTemplates(TemplateDatabase({"x1": {"name": "welcome", "text": "t"}}), "templates")
    assert parts(render(document(), templates, Deadline.after(60))) == {"text": "t"}


def test_a_missing_template_is_named_with_its_collection() -> None:
    with pytest.raises(NotSendable) as caught:
        render(document(), FirestoreTemplates(TemplateDatabase(), "templates"), Deadline.after(60))
    assert caught.value.code is ErrorCode.TEMPLATE
    assert str(caught.value) == (
        "Field 'template.name': expected a document's id in the templates collection 'templates', "
        "found 'welcome', which is not there."
    )


@pytest.mark.parametrize("name", ["a/b/c", "..", ".", "__x__", "ä" * 751])
def test_invalid_document_ids_are_not_looked_up(name: str) -> None:
    database = TemplateDatabase()
    assert FirestoreTemplates(database, "templates").get(name) is None
    assert database.asked == [f"templates where name == {name!r}"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        pytest.param(
            {"html": "a\n{{#if x}}"},
            "Template 'templates/welcome' is malformed: html, line 2, column 1: '{{#if}}' is never closed.",
            id="malformed",
        ),
        pytest.param(
            {"text": "{{shout x}}"},
            "Template 'templates/welcome' can't be rendered: text, line 1, column 1: There is no helper 'shout'.",
            id="an unknown helper",
        ),
        pytest.param(
            {"text": "{{> broken}}"},
            "Template 'templates/welcome' can't be rendered: "
            "text of partial 'broken', line 1, column 2: '{{/' stands outside of any block.",
            id="a malformed partial",
        ),
        pytest.param(
            {"html": 5},
            "Field 'templates/welcome.html': expected a string, found a number.",
            id="a part of another type",
        ),
        pytest.param(
            {"partial": True, "html": "x"},
            "Field 'templates/welcome.partial': expected false or nothing, as this is used as a template, "
            "found a boolean.",
            id="a partial",
        ),
        pytest.param(
            {"subject": "s"},
            "Template 'templates/welcome' and 'message' make a mail without 'text' and 'html': "
            "one of them must not be empty.",
            id="no body",
        ),
        pytest.param(
            {"text": "t", "attachments": [{"filename": "{{name}}"}]},
            "Template 'templates/welcome' can't be rendered: attachments.0.filename, line 1, column 3: "
            "There is no 'name' in the data.",
            id="an attachment with a value that is missing",
        ),
        pytest.param(
            {"text": "t", "attachments": {"filename": "x"}},
            "Field 'templates/welcome.attachments': expected an array of maps (a single one must be in an array too), "
            "found a map.",
            id="attachments that are no array",
        ),
        pytest.param(
            {"text": "t", "attachments": [{"filename": "a", "cid": "{{lines}}"}]},
            "Field 'templates/welcome.attachments.0.cid': expected a single line of text, found a line break or NUL.",
            id="an attachment's field that is wrong once rendered",
        ),
    ],
)
def test_errors_name_the_field_and_the_problem(template: dict[str, Any], text: str) -> None:
    assert refused(template, {"lines": "a\nb"}, broken={"partial": True, "text": "x{{/if}}"}) == text


def test_strings_of_attachments_are_rendered_separately_without_escaping() -> None:
    entry = {
        "filename": '{{who}}\'s "{{title}}".txt',
        "content": "{{#each l}}{{.}},{{/each}}",
        "contentType": "text/csv",
    }
    data = {"who": 'A & "B"', "title": "<x>", "l": [1, 2]}
    message = made({"text": "t", "attachments": [entry]}, data).message
    assert message
    [attachment] = message.attachments
    assert attachment.filename == 'A & "B"\'s "<x>".txt'
    assert (attachment.content, attachment.media_type) == ("1,2,", "text/csv")


def test_data_cannot_inject_a_path_into_an_attachment() -> None:
    data = {"name": 'x.txt", "path": "/etc/passwd'}
    message = made({"text": "t", "attachments": [{"filename": "{{name}}", "content": "c"}]}, data).message
    assert message
    [attachment] = message.attachments
    assert (attachment.url, attachment.filename) == (None, data["name"])


def test_other_values_in_attachments_are_kept() -> None:
    entry = {"filename": "a.bin", "content": b"\0{{x}}", "headers": {"X-Count": 5, "X-Name": "{{name}}"}}
    message = made({"text": "t", "attachments": [entry]}, {"name": "Ada"}).message
    assert message
    [attachment] = message.attachments
    assert attachment.content == b"\0{{x}}"
    assert [(header.name, header.value) for header in attachment.headers] == [("X-Count", "5"), ("X-Name", "Ada")]


def test_maps_are_iterated_in_the_order_of_their_keys() -> None:
    stored = encode_fields({"m": {"zeta": 1, "alpha": 2, "10": 3, "9": 4, "Beta": 5, "deep": [{"b": 1, "a": 2}]}})
    data = decode_fields(stored)
    source = "{{#each m}}{{@key}} {{/each}}{{#each m.deep.[0]}}{{@key}} {{/each}}"
    assert parts(made({"text": source}, data)) == {"text": "9 10 Beta alpha deep zeta a b "}


def test_slow_rendering_is_a_template_error() -> None:
    endless = {"text": "{{#each l}}{{#each ../l}}{{/each}}{{/each}}"}
    templates = FirestoreTemplates(TemplateDatabase({"welcome": endless}), "templates")
    with pytest.raises(NotSendable, match=r"text, line 1, column \d+: Rendering takes too long"):
        render(document({"l": [0] * 100}), templates, Deadline.after(600, Seconds(step=0.1)))


def test_a_passed_deadline_is_not_a_template_error() -> None:
    templates = FirestoreTemplates(TemplateDatabase({"welcome": {"text": "{{#each l}}{{/each}}"}}), "templates")
    with pytest.raises(NotSent) as caught:
        render(document({"l": [0] * 100}), templates, Deadline.after(2, Seconds(step=0.1)))
    assert caught.value.code is ErrorCode.TEMPORARY


class TestFirestoreTemplates:
    def test_a_template_is_read_once_in_five_seconds(self) -> None:
        database, clock = TemplateDatabase({"a": {"text": "1"}}), Seconds()
        templates = FirestoreTemplates(database, "templates", clock)
        for _ in range(3):
            templates.get("a")
            clock.now += 2.4
        assert database.asked == ["templates/a"]
        templates.get("a")
        assert database.asked == ["templates/a"] * 2

    def test_an_unchanged_template_is_not_compiled_again(self) -> None:
        clock = Seconds()
        templates = FirestoreTemplates(TemplateDatabase({"a": {"text": "1"}}), "templates", clock)
        first = templates.get("a")
        clock.now += 60
        assert templates.get("a") is first

    def test_an_edited_template_is_used_within_five_seconds(self) -> None:
        database, clock = TemplateDatabase({"welcome": {"text": "1"}}), Seconds()
        templates = FirestoreTemplates(database, "templates", clock)
        assert parts(render(document(), templates, Deadline.after(60))) == {"text": "1"}
        database.put("templates/welcome", {"text": "2"})
        clock.now += 5
        assert parts(render(document(), templates, Deadline.after(60))) == {"text": "2"}

    def test_a_deleted_template_is_gone_within_five_seconds(self) -> None:
        database, clock = TemplateDatabase({"a": {"text": "1"}}), Seconds()
        templates = FirestoreTemplates(database, "templates", clock)
        assert templates.get("a")
        database.put("templates/a", None)
        clock.now += 5
        assert templates.get("a") is None
        assert templates.get("a") is None

    def test_a_template_that_was_missing_is_found_at_once(self) -> None:
        database = TemplateDatabase()
        templates = FirestoreTemplates(database, "templates", Seconds())
        assert templates.get("a") is None
        database.put("templates/a", {"text": "1"})
        assert templates.get("a")

    def test_a_corrected_template_is_used_at_once(self) -> None:
        database = TemplateDatabase({"a": {"text": "{{#if}}"}})
        templates = FirestoreTemplates(database, "templates", Seconds())
        with pytest.raises(NotSendable):
            templates.get("a")
        database.put("templates/a", {"text": "1"})
        assert templates.get("a")

    def test_partials_are_read_together_once_in_five_seconds(self) -> None:
        partial = {"partial": True, "text": "p"}
        database, clock = TemplateDatabase({"p": partial, "q": partial, "a": {"text": "1"}}), Seconds()
        templates = FirestoreTemplates(database, "templates", clock)
        assert set(templates.partials()) == set(templates.partials()) == {"p", "q"}
        assert database.asked == ["templates where partial == True"]

    def test_a_deleted_partial_disappears_and_an_edited_one_changes(self) -> None:
        partial = {"partial": True, "text": "old"}
        database, clock = (
            TemplateDatabase({"welcome": {"text": "{{> p}}{{> q}}"}, "p": partial, "q": partial}),
            Seconds(),
        )
        templates = FirestoreTemplates(database, "templates", clock)
        render(document(), templates, Deadline.after(60))
        database.put("templates/p", {"partial": True, "text": "new "})
        clock.now += 5
        assert parts(render(document(), templates, Deadline.after(60))) == {"text": "new old"}
        database.put("templates/p", None)
        clock.now += 5
        with pytest.raises(NotSendable, match="There is no partial 'p'"):
            render(document(), templates, Deadline.after(60))

    def test_an_unchanged_partial_is_not_compiled_again(self) -> None:
        clock = Seconds()
        templates = FirestoreTemplates(TemplateDatabase({"p": {"partial": True, "text": "1"}}), "templates", clock)
        first = templates.partials()["p"]
        clock.now += 60
        assert templates.partials()["p"] is first

    def test_the_cache_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(template_repository, "CAPACITY", 2)
        database = TemplateDatabase({name: {"text": name} for name in "abc"})
        templates = FirestoreTemplates(database, "templates", Seconds())
        for name in "abacab":
            templates.get(name)
        # c evicted b, then b evicted c; a was used in between.
        assert database.asked == [f"templates/{name}" for name in "abcb"]

    def test_an_unavailable_firestore_is_not_a_template_error(self) -> None:
        database, clock = TemplateDatabase({"a": {"text": "1"}}), Seconds()
        templates = FirestoreTemplates(database, "templates", clock)
        templates.get("a")
        database.broken = True
        assert templates.get("a")
        clock.now += 5
        for ask in (lambda: templates.get("a"), templates.partials):
            with pytest.raises(Unavailable):
                ask()


def test_a_template_says_whether_it_calls_partials() -> None:
    database = TemplateDatabase()
    for fields, calls in (({"text": "{{a}}"}, False), ({"text": "{{#if a}}{{#> p}}{{/p}}{{/if}}"}, True)):
        database.put("templates/a", fields)
        snapshot = database.get("templates/a")
        assert snapshot
        assert compile_mail_template(snapshot).uses_partials is calls
