"""The operator's command line with the running system: each command once as a process, the rest in this process."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.api_core.exceptions import FailedPrecondition
from google.cloud.firestore import Query

from cli import mailbox as mailbox_module
from cli import subscription as subscription_module
from cli.__main__ import cli
from cli.mailbox import Mailbox
from cli.target import EMULATORS
from local.stack import write_ready_file
from shared.delivery.model import State
from shared.firestore.client import connect_firestore
from shared.firestore.database import FirestoreDatabase
from tests.integration.system import PATIENCE, System, wait_for

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime.now(UTC)
NOWHERE = dict.fromkeys(EMULATORS, "127.0.0.1:1") | {"GOOGLE_CLOUD_PROJECT": "p"}
FORWARDED = {
    "CloudPubSubDeadLetterSourceDeliveryCount": "100",
    "CloudPubSubDeadLetterSourceSubscription": "mail-sender",
}

Run = Callable[..., Result]
Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ready_file(system: System, tmp_path: Path) -> Path:
    path = tmp_path / "ready.json"
    write_ready_file(path, system.stack.ready)
    return path


@pytest.fixture
def run(ready_file: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process."""
    for name in EMULATORS:  # --local sets them; this restores them
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(subscription_module, "EMPTY_SECONDS", 1.0)  # nothing but this waits here

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, ["--local", str(ready_file), *arguments], input=stdin)

    return invoke


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli", *arguments]


def called(
    *arguments: str, stdin: str | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in NOWHERE}
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=inherited | (environment or {}),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.fixture
def call(ready_file: Path) -> Call:
    """Run a command as a separate process, without a terminal."""
    return lambda *arguments, stdin=None: called("--local", str(ready_file), *arguments, stdin=stdin)


def records(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def failed(code: str = "auth", hours: int = 0) -> dict[str, Any]:
    """A document that ended in ERROR this many hours ago."""
    time = NOW - timedelta(hours=hours)
    delivery = {"state": "ERROR", "errorCode": code, "error": "535 No", "attempts": 1, "endTime": time}
    return {"delivery": delivery | {"startTime": time}}


@pytest.fixture
def collection(system: System) -> str:
    """A collection that no dispatcher watches, so the commands' changes remain."""
    return f"shops/{system.new_path().rpartition('/')[2]}/mail"


def states(system: System, collection: str) -> dict[str, str]:
    return {each.id: each.get("delivery.state") for each in system.firestore.collection(collection).stream()}


class TestSend:
    def test_a_mail_from_options_is_sent_and_its_steps_are_shown(
        self, call: Call, system: System, tmp_path: Path
    ) -> None:
        (tmp_path / "note.txt").write_text("attached")
        (tmp_path / "body.html").write_text("<p>Grüße</p>")
        mail = ("--to", "cli-1@example.com", "--subject", "Grüße", "--text-file", "-", "--header", "X-Own: yes")
        files = ("--html-file", str(tmp_path / "body.html"), "--attach", str(tmp_path / "note.txt"))
        result = call("send", *mail, *files, "--wait", "--json", stdin="Hello\n")
        assert (result.returncode, result.stderr) == (0, "")
        written, *steps = records(result.stdout)
        assert steps[-1]["document"] == written["document"]
        assert steps[-1]["delivery"]["state"] == "SUCCESS"
        (sent,) = system.mails_to("cli-1@example.com")
        assert b"X-Own: yes" in sent.data
        assert b"note.txt" in sent.data

    def test_a_mail_that_ends_in_error_is_exit_code_1(self, run: Run, system: System) -> None:
        system.server.when("RCPT", "cli-2@example.com").reply("550 5.1.1 No such user")
        result = run("send", "--to", "cli-2@example.com", "--subject", "s", "--text", "t", "--wait")
        assert result.exit_code == 1
        assert "550 5.1.1 No such user" in result.stdout
        assert result.stderr.endswith("ended in ERROR.\n")

    def test_a_file_is_published_with_the_options_over_it_and_twice_is_once(self, run: Run, system: System) -> None:
        mail = json.dumps({"to": "nobody@example.com", "message": {"subject": "s", "text": "t"}})
        arguments = ("send", "-", "--to", "cli-3@example.com", "--publish", "--id", "cli-3", "--wait")
        for _ in range(2):
            result = run(*arguments, stdin=mail)
            assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "mail/cli-3")
        assert len(system.mails_to("cli-3@example.com")) == 1

    def test_a_document_that_exists_is_not_overwritten(self, run: Run, system: System) -> None:
        path = system.write({"own": 1, "delivery": {"state": "SUCCESS"}})
        result = run(
            "send", "--to", "a@example.com", "--subject", "s", "--text", "t", "--id", path.removeprefix("mail/")
        )
        assert (result.exit_code, result.stderr) == (1, f"Error: {path} already exists; nothing was written.\n")
        assert system.document(path)["own"] == 1

    def test_a_mail_can_be_scheduled_and_waiting_for_it_is_limited(self, run: Run, system: System) -> None:
        arguments = ("--to", "a@example.com", "--subject", "s", "--text", "t", "--send-at", "2h", "--wait=0")
        result = run("send", *arguments)
        assert result.exit_code == 1
        assert "has not ended within 0 s" in result.stderr
        path = result.stdout.splitlines()[0]
        delivery = system.in_state(path, "PENDING")
        assert timedelta(hours=1) < delivery["nextAttemptTime"] - datetime.now(UTC) <= timedelta(hours=2)

    def test_a_document_that_firestore_can_not_hold_is_refused(self, run: Run, tmp_path: Path) -> None:
        (tmp_path / "large.bin").write_bytes(b"\0" * 1_000_000)
        arguments = ("--to", "a@example.com", "--subject", "s", "--text", "t", "--attach", str(tmp_path / "large.bin"))
        result = run("send", *arguments)
        assert result.exit_code == 1
        assert "Firestore refuses the document" in result.stderr


class TestStatus:
    def test_all_of_delivery_is_shown_and_a_missing_document_is_exit_code_1(self, call: Call, system: System) -> None:
        path = system.write(failed())
        result = call("status", path.removeprefix("mail/"), "nobody")
        assert result.returncode == 1
        assert result.stdout.startswith(f"{path}  ERROR\n  error       535 No\n  errorCode   auth\n  attempts    1\n")
        assert result.stderr == "Error: No such document: mail/nobody.\n"

    def test_watching_ends_with_the_mail(self, run: Run, system: System) -> None:
        path = system.write({"to": "cli-4@example.com", "message": {"subject": "s", "text": "t"}})
        result = run("status", path, "--watch", "--json")
        assert result.exit_code == 0
        assert records(result.stdout)[-1]["delivery"]["state"] == "SUCCESS"
        queued, attempt = run("status", path).stdout.splitlines()[-2:]
        assert (queued.split("\t")[1], attempt.split("\t")[1:4]) == ("queued", ["attempt 1", "SUCCESS", ""])

    def test_what_was_sent_passes_the_audit(self, run: Run, system: System) -> None:
        path = system.write({"to": "cli-5@example.com", "message": {"subject": "s", "text": "t"}})
        run("status", path, "--watch")
        result = run("audit", "--scan")
        assert (result.exit_code, result.stdout) == (0, "")
        assert "0 log entries and " in result.stderr

    def test_a_missing_document_is_not_watched(self, run: Run) -> None:
        result = run("status", "nobody", "--watch")
        assert (result.exit_code, result.stderr) == (1, "Error: No such document: mail/nobody.\n")


class TestList:
    @pytest.fixture(autouse=True)
    def documents(self, system: System, collection: str) -> None:
        for name, fields in {
            "a": failed("auth", hours=3),
            "b": failed("throttled", hours=1),
            "c": failed("auth", hours=2),
            "d": {"delivery": {"state": "SUCCESS", "startTime": NOW, "endTime": NOW}},
            "e": {"no": "mail"},
        }.items():
            system.write(fields, f"{collection}/{name}")

    def test_mails_are_listed_for_a_pipe_newest_first(self, ready_file: Path, collection: str) -> None:
        arguments = ("--local", str(ready_file), "--collection", collection, "list", "--state", "ERROR", "--limit", "2")
        result = called(*arguments)
        assert result.returncode == 0
        assert [line.split("\t")[:3] for line in result.stdout.splitlines()] == [
            [f"{collection}/b", "ERROR", "throttled"],
            [f"{collection}/c", "ERROR", "auth"],
        ]
        assert result.stderr == "2 of 3 mails are shown; --limit shows more.\n"

    @pytest.mark.parametrize("page", [1, 2, 300])
    @pytest.mark.parametrize(
        ("options", "found"),
        [
            pytest.param([], "edbca", id="all"),
            pytest.param(["--state", "ERROR", "--error-code", "auth"], "ca", id="state-and-code"),
            pytest.param(["--error-code", "auth", "--error-code", "throttled"], "bca", id="codes"),
            pytest.param(["--state", "ERROR", "--since", "150m"], "bc", id="since"),
            pytest.param(["--state", "RETRY"], "", id="none"),
        ],
    )
    def test_filters_hold_over_all_pages(
        self,
        run: Run,
        collection: str,
        options: Sequence[str],
        found: str,
        page: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(mailbox_module, "PAGE", page)
        result = run("--collection", collection, "list", "--json", *options)
        assert result.exit_code == 0
        assert [each["document"] for each in records(result.stdout)] == [f"{collection}/{name}" for name in found]

    @pytest.mark.parametrize(("no_color", "is_coloured"), [("", True), ("1", False)])
    def test_a_terminal_gets_a_table_with_colours_unless_they_are_not_wanted(
        self, ready_file: Path, collection: str, no_color: str, is_coloured: bool
    ) -> None:
        arguments = command("--local", str(ready_file), "--collection", collection, "list", "--state", "SUCCESS")
        screen, terminal = pty.openpty()
        environment = os.environ | {"NO_COLOR": no_color, "TERM": "xterm", "COLUMNS": "100"}
        try:
            subprocess.run(arguments, cwd=ROOT, env=environment, stdout=terminal, check=True, timeout=PATIENCE)
            shown = os.read(screen, 65536).decode()
        finally:
            os.close(terminal)
            os.close(screen)
        assert "DOCUMENT" in shown
        assert ("\x1b[32mSUCCESS" in shown) is is_coloured


def sent(*accepted: str, hours: int = 0, **fields: Any) -> dict[str, Any]:
    """A document that ended in SUCCESS this many hours ago; `fields` overrides those of `info`."""
    time = NOW - timedelta(hours=hours)
    info = {"accepted": list(accepted), "rejected": [], "pending": [], "response": "250 OK", "sendgridQueueId": None}
    return {"delivery": {"state": "SUCCESS", "startTime": time, "endTime": time, "info": info | fields}}


class TestFind:
    @pytest.fixture(autouse=True)
    def documents(self, system: System, collection: str) -> None:
        ada, id_ = "ada@example.com", "<a@example.com>"
        for name, fields in {
            "a": {"to": ada, "message": {"subject": "Order 17"}} | sent(ada, hours=4, messageId=id_),
            "b": {"to": [ada], "message": {"subject": "Order 18 😀", "messageId": "b@example.com"}} | failed(hours=3),
            "c": sent("x@example.com", hours=2, rejected=[ada], response="550 id=Q-17 no"),
            "d": {"toUids": ["u"]} | sent(hours=1, pending=["Ada@Example.com"], response="250 Ok: queued as Q17"),
            "e": {"cc": "Ada <Ada@Example.com>", "message": {"subject": "order 19"}} | failed(),
            "f": {"to": "bob@example.com", "message": {"subject": "Ordes"}}
            | sent("bob@example.com", sendgridQueueId="S1"),
            "g": {"no": "mail", "delivery": {"info": {"accepted": {"a": 1}}}},
        }.items():
            system.write(fields, f"{collection}/{name}")

    @pytest.mark.parametrize("page", [1, 2, 300])
    @pytest.mark.parametrize(
        ("options", "found"),
        [
            pytest.param(["--to", "ada@example.com"], "cba", id="as-written"),
            pytest.param(["--to", "Ada@Example.com"], "dcba", id="as-given-and-in-lower-case"),
            pytest.param(["--to", "Ada <Ada@Example.com>"], "ecba", id="with-a-name"),
            pytest.param(["--to", "ADA@example.com", "--scan"], "edcba", id="scan-for-any-case-and-within-names"),
            pytest.param(["--to", "ada@example.com", "--since", "210m", "--until", "150m"], "b", id="range-of-time"),
            pytest.param(["--to", "nobody@example.com"], "", id="none"),
            pytest.param(["--message-id", "a@example.com"], "a", id="message-id-of-firepost"),
            pytest.param(["--message-id", "<b@example.com>"], "b", id="message-id-of-the-document"),
            pytest.param(["--subject", "Order"], "ba", id="subject"),
            pytest.param(["--subject", "order ", "--scan"], "eba", id="subject-in-any-case"),
            pytest.param(["--subject", "Order", "--to", "ada@example.com"], "ba", id="both"),
            pytest.param(["--subject", "Order 17", "--to", "ada@example.com"], "a", id="both-must-fit"),
            pytest.param(["--provider-id", "S1"], "f", id="sendgrid"),
            pytest.param(["--provider-id", "q17"], "d", id="queue-id"),
            pytest.param(["--provider-id", "Q-17", "--to", "ada@example.com"], "c", id="queue-id-and-recipient"),
        ],
    )
    def test_mails_are_found_newest_first(
        self, run: Run, collection: str, options: Sequence[str], found: str, page: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mailbox_module, "PAGE", page)
        result = run("--collection", collection, "find", "--json", *options)
        assert result.exit_code == 0, result.stderr
        assert [each["document"] for each in records(result.stdout)] == [f"{collection}/{name}" for name in found]
        assert result.stderr.startswith("No such mails" if not found else "")

    def test_it_says_when_limit_or_reads_cut_the_result(self, call: Call, collection: str) -> None:
        shown = call("--collection", collection, "find", "--to", "ada@example.com", "--limit", "2")
        assert [line.split("\t")[:2] for line in shown.stdout.splitlines()] == [
            [f"{collection}/c", "SUCCESS"],
            [f"{collection}/b", "ERROR"],
        ]
        assert shown.stdout.splitlines()[0].endswith("\taccepted for 1 of 2")
        assert shown.stderr == "2 of 3 mails are shown; --limit shows more.\n"
        cut = call("--collection", collection, "find", "--provider-id", "nowhere", "--reads", "5")
        assert (cut.returncode, cut.stdout) == (0, "")
        assert "Stopped after reading 5 documents" in cut.stderr
        known = call("--collection", collection, "find", "--provider-id", "S1", "--reads", "2")
        assert known.stdout.startswith(f"{collection}/f\t")
        assert known.stderr == "", "what the lookup finds needs no scan"

    def test_no_content_of_mails_is_shown(self, run: Run, collection: str) -> None:
        for options in ([], ["--json"]):
            result = run("--collection", collection, "find", "--subject", "Order", *options)
            assert result.stdout
            assert "Order" not in result.stdout

    def test_a_mail_that_was_really_sent_is_found_by_all_that_is_known_of_it(self, run: Run, system: System) -> None:
        path = system.write({"to": "Find Me <find-1@Example.com>", "message": {"subject": "Find 1", "text": "t"}})
        info = system.concluded(path)["info"]
        for known in (
            ("--to", "find-1@example.com"),
            ("--message-id", info["messageId"]),
            ("--subject", "Find 1"),
            ("--provider-id", info["response"].split()[-1], "--to", "find-1@example.com"),
        ):
            result = run("find", *known, "--json")
            assert [each["document"] for each in records(result.stdout)] == [path]


def test_mails_that_some_recipients_did_not_get_are_listed(
    run: Run, system: System, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_module, "PAGE", 2)
    for name, fields in {
        "a": sent("x@example.com", hours=1),
        "b": sent("x@example.com", hours=2, rejected=["y@example.com"]),
        "c": sent("x@example.com", hours=3, pending=["y@example.com", "z@example.com"]),
        "d": sent("x@example.com", hours=4, rejected=["y@example.com"], pending=["z@example.com"]),
        "e": {"delivery": failed()["delivery"] | {"info": {"rejected": ["y@example.com"], "pending": []}}},
        "f": sent("x@example.com", rejected="y@example.com", pending=None),
        "g": sent("x@example.com", hours=5, rejected=["a@example.com"]),
        "h": {"no": "mail"},
    }.items():
        system.write(fields, f"{collection}/{name}")
    result = run("--collection", collection, "list", "--partial", "--json")
    assert result.exit_code == 0, result.stderr
    assert [each["document"] for each in records(result.stdout)] == [f"{collection}/{name}" for name in "bcdg"]
    shown = run("--collection", collection, "list", "--partial", "--until", "150m", "--limit", "1")
    assert shown.stdout.split("\t")[5] == "accepted for 1 of 3\n"


class TestCounts:
    @pytest.fixture(autouse=True)
    def documents(self, system: System, collection: str) -> None:
        for name, fields in {
            "a": failed("auth"),
            "b": failed("auth"),
            "c": sent("x@example.com"),
            "d": {"delivery": {"state": "RETRY", "errorCode": "connection"}},
            "e": {"delivery": {"state": "SENT"}},
            "f": {"no": "mail"},
        }.items():
            system.write(fields, f"{collection}/{name}")

    def test_mails_are_counted_by_state_and_error_code(self, call: Call, collection: str) -> None:
        result = call("--collection", collection, "counts", "--json")
        assert (result.returncode, result.stderr) == (0, "")
        counted = {(each["counted"], each["name"]): each["mails"] for each in records(result.stdout)}
        assert {key: number for key, number in counted.items() if number} == {
            ("all", None): 6,
            ("state", "ERROR"): 2,
            ("state", "SUCCESS"): 1,
            ("state", "RETRY"): 1,
            ("state", None): 2,
            ("error-code", "auth"): 2,
            ("error-code", "connection"): 1,
        }
        assert {("state", "PENDING"), ("error-code", "unknown")} < counted.keys()

    def test_a_pipe_gets_plain_columns(self, run: Run, collection: str) -> None:
        lines = run("--collection", collection, "counts").stdout.splitlines()
        assert lines[0] == "all\t\t6\t100.0%"
        assert "state\tERROR\t2\t33.3%" in lines
        assert "state\t(none)\t2\t33.3%" in lines
        assert "error-code\tthrottled\t0\t0.0%" in lines

    def test_an_empty_collection_has_none(self, run: Run, collection: str) -> None:
        result = run("--collection", f"{collection}-empty", "counts")
        assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "all\t\t0\t0.0%")


def test_a_missing_index_is_exit_code_3_and_says_where_it_comes_from(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FailedPrecondition("The query requires an index.")  # what Google's emulator never answers

    monkeypatch.setattr(Query, "get", refuse)
    result = run("find", "--to", "ada@example.com")
    assert result.exit_code == 3
    assert "lacks an index for this, which the Terraform module creates" in result.stderr
    assert "The query requires an index." in result.stderr


class TestRetry:
    def test_a_mail_that_failed_is_sent(self, call: Call, system: System) -> None:
        path = system.write({"to": "cli-5@example.com", "message": {"subject": "s", "text": "t"}, **failed()})
        result = call("retry", path)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{path}  set\n", "1 set to RETRY.\n")
        assert system.concluded(path, attempts=2)["state"] == "SUCCESS"
        again = call("retry", path, "--json")
        assert again.returncode == 1
        assert records(again.stdout) == [{"document": path, "result": "skipped", "reason": "success"}]

    def test_a_dry_run_shows_what_would_be_and_changes_nothing(self, run: Run, system: System, collection: str) -> None:
        for name, code in {"a": "auth", "b": "lease-expired", "c": "throttled"}.items():
            system.write(failed(code), f"{collection}/{name}")
        result = run("--collection", collection, "retry", "--state", "ERROR", "--dry-run")
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            f"{collection}/a  would be set",
            f"{collection}/b  skipped: outcome-unknown",
            f"{collection}/c  would be set",
        ]
        assert set(states(system, collection).values()) == {"ERROR"}

    def test_mails_that_may_have_been_sent_are_only_set_if_their_code_is_named(
        self, run: Run, system: System, collection: str
    ) -> None:
        for name, code in {"a": "auth", "b": "unknown"}.items():
            system.write(failed(code), f"{collection}/{name}")
        bulk = ("--collection", collection, "retry", "--state", "ERROR")
        assert run(*bulk).exit_code == 0
        assert states(system, collection) == {"a": "RETRY", "b": "ERROR"}
        assert run(*bulk, "--error-code", "unknown").exit_code == 0
        assert states(system, collection) == {"a": "RETRY", "b": "RETRY"}
        assert run(*bulk).exit_code == 1

    def test_a_large_run_needs_a_yes(self, run: Run, system: System, collection: str) -> None:
        for number in range(21):
            system.write(failed(), f"{collection}/{number}")
        bulk = ("--collection", collection, "retry", "--state", "ERROR", "--rate", "1000")
        refused = run(*bulk)
        assert refused.exit_code == 2
        assert "21 mails would be set to RETRY: confirm with --yes" in refused.stderr
        assert set(states(system, collection).values()) == {"ERROR"}
        assert run(*bulk, "--yes").exit_code == 0
        assert set(states(system, collection).values()) == {"RETRY"}

    def test_an_interrupted_run_reports_its_progress_and_continues_when_run_again(
        self, run: Run, system: System, collection: str, ready_file: Path
    ) -> None:
        for number in range(5):
            system.write(failed(), f"{collection}/{number}")
        bulk = ("--collection", collection, "retry", "--state", "ERROR")
        arguments = command("--local", str(ready_file), *bulk, "--rate", "0.1")
        with subprocess.Popen(
            arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{collection}/0  set\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors.splitlines()[0]) == (1, "1 set to RETRY.")
        rest = run(*bulk, "--rate", "1000")
        assert rest.stdout.splitlines() == [f"{collection}/{number}  set" for number in range(1, 5)]

    def test_a_document_that_changed_meanwhile_is_not_written(self, system: System, collection: str) -> None:
        path = system.write(failed(), f"{collection}/a")
        connection = connect_firestore(system.stack.ready["firestore"])
        database = FirestoreDatabase(connection, system.stack.options.project, "(default)")
        mailbox = Mailbox(system.firestore, database, collection, "Firestore")
        seen = mailbox.get(path)
        assert seen is not None
        system.firestore.document(path).update({"to": "corrected@example.com"})
        assert mailbox.set_state([seen], State.RETRY) == ["changed"]
        assert system.delivery(path)["state"] == "ERROR"
        system.firestore.document(path).delete()
        assert mailbox.set_state([seen], State.RETRY) == ["changed"]
        assert system.document(path) == {}
        connection.close()


class TestAdopt:
    def test_a_mail_whose_event_is_still_on_its_way_is_sent_once(self, call: Call, system: System) -> None:
        system.stack.kill("dispatcher")
        path = system.write({"to": "cli-adopted@example.com", "message": {"subject": "s", "text": "t"}})
        adopted = call("adopt", "--yes")
        assert (adopted.returncode, adopted.stdout) == (0, f"{path}  set\n")
        assert system.delivery(path) == {"state": "RETRY"}
        system.stack.start_service("dispatcher")  # to which both events come again
        assert system.concluded(path)["state"] == "SUCCESS"
        system.concluded(system.write({"to": "cli-later@example.com", "message": {"subject": "s", "text": "t"}}))
        assert len(system.mails_to("cli-adopted@example.com")) == 1
        assert system.delivery(path)["attempts"] == 1


class TestCancel:
    """In a collection of its own, which nothing works on."""

    STATES = ("PENDING", "RETRY", "PROCESSING", "SUCCESS", "ERROR", "CANCELLED")

    def filled(self, system: System, collection: str) -> list[str]:
        for state in self.STATES:
            system.write({"delivery": {"state": state, "attempts": 1}}, f"{collection}/{state.lower()}")
        system.write({"to": "a@b.c"}, f"{collection}/new")
        return [f"{collection}/{name}" for name in (*map(str.lower, self.STATES), "new", "missing")]

    def test_mails_that_have_not_ended_are_cancelled(self, run: Run, system: System, collection: str) -> None:
        paths = self.filled(system, collection)
        result = run("--collection", collection, "cancel", *paths, "--json")
        assert result.exit_code == 0
        found = {record.pop("document").rpartition("/")[2]: record for record in records(result.stdout)}
        assert "may still go out" in found["processing"].pop("remark")
        assert found == {
            **{name: {"result": "set"} for name in ("pending", "retry", "processing", "new")},
            **{name: {"result": "skipped", "reason": name} for name in ("success", "error", "cancelled", "missing")},
        }
        assert result.stderr == "4 set to CANCELLED; skipped: 1 success, 1 error, 1 cancelled, 1 missing.\n"
        cancelled = dict.fromkeys(("pending", "retry", "processing", "new", "cancelled"), "CANCELLED")
        assert states(system, collection) == {**cancelled, "success": "SUCCESS", "error": "ERROR"}
        assert run("--collection", collection, "cancel", *paths).exit_code == 1

    def test_all_in_a_state_are_cancelled(self, run: Run, system: System, collection: str) -> None:
        self.filled(system, collection)
        bulk = ("--collection", collection, "cancel", "--state", "RETRY")
        assert run(*bulk, "--dry-run").stdout == f"{collection}/retry  would be set\n"
        assert system.delivery(f"{collection}/retry")["state"] == "RETRY"
        assert run(*bulk).stdout == f"{collection}/retry  set\n"
        assert system.delivery(f"{collection}/retry")["state"] == "CANCELLED"
        assert system.delivery(f"{collection}/pending")["state"] == "PENDING"

    def test_a_scheduled_mail_is_cancelled(self, call: Call, system: System) -> None:
        send_at = datetime.now(UTC) + timedelta(hours=1)
        path = system.write({"to": "cli-9@example.com", "message": {"subject": "s", "text": "t"}, "sendAt": send_at})
        system.in_state(path, "PENDING")
        result = call("cancel", path)
        assert (result.returncode, result.stdout, result.stderr) == (0, f"{path}  set\n", "1 set to CANCELLED.\n")
        watched = call("status", path, "--watch")
        assert (watched.returncode, "ended in CANCELLED" in watched.stderr) == (1, True)


class TestDeadLetters:
    def letter_about(self, run: Run, document: str) -> dict[str, Any]:
        """The dead letter about a document, once it has arrived."""

        def look() -> dict[str, Any] | None:
            listed = run("dead-letters", "list", "--json")
            assert listed.exit_code == 0, listed.stderr
            return next((each for each in records(listed.stdout) if each["document"] == document), None)

        return wait_for(look, f"the dead letter about {document}")

    def test_reading_dead_letters_consumes_none(self, run: Run, call: Call, system: System) -> None:
        system.publish({"document": "elsewhere/cli-a"}, own="attribute")
        letter = self.letter_about(run, "elsewhere/cli-a")
        assert letter["reason"] == "foreign-path"
        assert "must lie in the collection 'mail'" in letter["error"]
        listed = call("dead-letters", "list")
        assert [letter["id"], "foreign-path"] in [line.split("\t")[::2][:2] for line in listed.stdout.splitlines()]
        shown = call("dead-letters", "show", letter["id"])
        assert (shown.returncode, "  own  attribute\n" in shown.stdout) == (0, True)
        assert '"document": "elsewhere/cli-a"' in shown.stdout
        missing = run("dead-letters", "show", "no-such-id")
        assert (missing.exit_code, "No dead letter has the id" in missing.stderr) == (1, True)

    def test_a_dead_letter_is_replayed_unchanged_and_recognized_when_it_comes_back(
        self, run: Run, call: Call, system: System
    ) -> None:
        system.publish({"document": "elsewhere/cli-b"}, own="attribute")
        letter = self.letter_about(run, "elsewhere/cli-b")
        dry = run("dead-letters", "replay", letter["id"], "--dry-run", "--json")
        assert (dry.exit_code, records(dry.stdout)[-1]["result"]) == (0, "would-replay")
        assert run("dead-letters", "replay", letter["id"], "--reason", "not-json").exit_code == 1
        replayed = call("dead-letters", "replay", letter["id"])
        assert (replayed.returncode, replayed.stderr) == (0, "1 replayed.\n")
        again = self.letter_about(run, "elsewhere/cli-b")
        assert again["id"] != letter["id"]
        shown = records(run("dead-letters", "show", again["id"], "--json").stdout)[0]
        assert shown["attributes"]["own"] == "attribute"
        assert run("dead-letters", "replay", letter["id"]).exit_code == 1

    def test_replaying_everything_ends_even_if_the_dead_letters_come_back(self, run: Run, system: System) -> None:
        system.publish({"document": "elsewhere/cli-c"})
        self.letter_about(run, "elsewhere/cli-c")
        result = run("dead-letters", "replay", "--all", "--reason", "foreign-path", "--json")
        assert result.exit_code == 0
        results = [each["result"] for each in records(result.stdout) if each["document"] == "elsewhere/cli-c"]
        assert results[0] == "replayed"
        assert results.count("replayed") == 1

    def test_a_mail_that_pubsub_gave_up_can_be_sent_by_replay(self, run: Run, system: System) -> None:
        path = system.write(
            {"to": "cli-6@example.com", "message": {"subject": "s", "text": "t"}, **failed("dead-letter")}
        )
        topic = f"projects/{system.stack.options.project}/topics/mail-dead-letter"
        data = json.dumps({"document": path}).encode()
        system.publisher.publish(topic, data, document=path, reason="new", **FORWARDED).result(timeout=PATIENCE)
        letter = self.letter_about(run, path)
        assert letter["reason"] == "delivery-limit"
        result = run("dead-letters", "replay", letter["id"])
        assert (result.exit_code, result.stdout) == (0, f"{letter['id']}  {path}  replayed\n")
        assert system.concluded(path, attempts=2)["state"] == "SUCCESS"
        assert len(system.mails_to("cli-6@example.com")) == 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        pytest.param(["list"], "Firestore (project p, database (default))", id="firestore"),
        pytest.param(["dead-letters", "list"], "the Pub/Sub subscription mail-dead-letter-pull", id="pubsub"),
    ],
)
def test_an_unreachable_service_is_exit_code_3_and_one_sentence(arguments: list[str], what: str) -> None:
    result = called(*arguments, environment=NOWHERE)
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.startswith(f"Error: Can't work with {what}")
    assert len(result.stderr.splitlines()) == 1


def test_a_subscription_or_topic_that_does_not_exist_is_named(run: Run) -> None:
    listed = run("--dead-letter-subscription", "no-such-subscription", "dead-letters", "list")
    assert (listed.exit_code, "the Pub/Sub subscription no-such-subscription" in listed.stderr) == (3, True)
    sent = run("--topic", "no-such-topic", "send", "--to", "a@b.c", "--subject", "s", "--text", "t", "--publish")
    assert (sent.exit_code, "the Pub/Sub topic no-such-topic" in sent.stderr) == (3, True)


class TestTemplatePreview:
    def test_shows_what_a_template_makes_of_data(self, run: Run, system: System, tmp_path: Path) -> None:
        system.firestore.document("templates/cli").set({"subject": "Hi {{name}}", "html": "<b>{{name}}</b>"})
        data = tmp_path / "data.json"
        data.write_text('{"name": "A & B"}')
        shown = run("template", "preview", "cli", "--data", str(data))
        assert (shown.exit_code, shown.stdout) == (0, "subject:\nHi A & B\n\nhtml:\n<b>A &amp; B</b>\n")
        assert run("template", "preview", "cli", "--data", str(data), "--part", "html").stdout == "<b>A &amp; B</b>"

    def test_missing_documents_are_named(self, run: Run) -> None:
        shown = run("template", "preview", "ghost")
        assert shown.exit_code == 1
        assert "'ghost'" in shown.stderr
