"""Importing: files in the forms that the Firebase CLI writes, and the configuration that they become.

The files in `imports/` have no secret but those that contain the word "s3cret", and the expected output beside them;
`infra/terraform/check` looks at its format.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.__main__ import cli
from cli.parameters import Parameter, SecretVersion, own_name, parameter
from cli.trigger_email import translate
from tests.unit.infra.module import MODULE, strings

FILES = Path(__file__).parent / "imports"
NAMES = sorted(path.stem for path in FILES.glob("*.env"))
COMPLETE = {
    "DATABASE_REGION": "eur3",
    "DEFAULT_FROM": "shop@example.com",
    "SMTP_CONNECTION_URI": "smtps://user:pass@smtp.example.com:465",
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["--project", "my-shop", "import", *arguments])


@pytest.fixture(autouse=True)
def in_the_directory_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FILES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def without_refusals(text: str) -> str:
    """The text without the sender's own words about settings."""
    return re.sub(r"(?<=Firepost refuses it: ).*", "…", text)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_becomes_the_expected_variables_and_notes(name: str) -> None:
    result = run(f"{name}.env", "--output", "out.tfvars")
    assert Path("out.tfvars").read_text() == (FILES / f"{name}.tfvars.txt").read_text()
    assert without_refusals(result.stdout) == without_refusals((FILES / f"{name}.txt").read_text())
    assert result.exit_code == (1 if "\tto-do\t" in result.stdout else 0)


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_printed_or_written(name: str) -> None:
    result = run(f"{name}.env", "--output", "out.tfvars", "--json")
    assert "s3cret" not in result.output + result.stderr + Path("out.tfvars").read_text()


def test_all_variables_and_settings_exist_in_the_terraform_module() -> None:
    written = "\n".join(path.read_text() for path in FILES.glob("*.tfvars.txt"))
    module = "\n".join(path.read_text() for path in MODULE.rglob("*.tf"))
    variables = set(re.findall(r"^(\w+) +=", written, re.MULTILINE))
    assert variables <= set(re.findall(r'^variable "(\w+)"', module, re.MULTILINE))
    lists = [re.search(rf"  {name}_settings = \[(.*?)\]", module, re.DOTALL) for name in ("plain", "secret")]
    settings = set(re.findall(r"^  (\w+) +=", written, re.MULTILINE))
    assert settings <= {name for found in lists if found for name in strings(found[1])}


def test_each_parameter_has_a_finding() -> None:
    for name in NAMES:
        names = re.findall(r"^(?!#)([^=\n]+)=", (FILES / f"{name}.env").read_text(), re.MULTILINE)
        found = {line.partition("\t")[0] for line in (FILES / f"{name}.txt").read_text().splitlines()}
        assert set(names) <= found


def test_the_command_for_a_secret_in_the_file_reads_it_from_there() -> None:
    Path("a.env").write_text("# x\nSMTP_CONNECTION_URI=smtps://u:p'w$d@smtp.example.com:465 \r\nDATABASE_REGION=nam5\n")
    [command] = [
        json.loads(line)["command"] for line in run("a.env", "--json").stdout.splitlines() if "command" in line
    ]
    source, pipe, gcloud = command.partition(" | gcloud")
    assert pipe
    assert gcloud.endswith(" secrets versions add firepost-smtp-connection-uri --project=my-shop --data-file=-")
    shown = subprocess.run(["sh", "-c", source], capture_output=True, check=True)
    assert shown.stdout == b"smtps://u:p'w$d@smtp.example.com:465"


def test_an_existing_file_is_only_overwritten_by_force() -> None:
    Path("terraform.tfvars").write_text("mine")
    refused = run("extension.env")
    assert (refused.exit_code, "terraform.tfvars exists" in refused.stderr) == (2, True)
    assert Path("terraform.tfvars").read_text() == "mine"
    assert run("extension.env", "--force").exit_code == 0


def test_the_name_is_the_prefix_of_all_names() -> None:
    run("extension.env", "--name", "newsletter")
    text = Path("terraform.tfvars").read_text()
    assert re.search(r'^name +=\s"newsletter"$', text, re.MULTILINE)
    assert '"newsletter-smtp-password"' in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"A=1\nwhat is s3cret\n", "line 2 is not NAME=value", id="no-assignment"),
        pytest.param(b"# nothing\n", "it has no NAME=value", id="empty"),
        pytest.param(b"A=\xff", "not a text file", id="binary"),
        pytest.param(b"A=" + b"x" * 1_100_000, "at most 1 MiB", id="large"),
    ],
)
def test_another_file_is_refused_without_its_content(content: bytes, words: str) -> None:
    Path("a.env").write_bytes(content)
    result = run("a.env")
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert "s3cret" not in result.stderr
    assert not Path("terraform.tfvars").exists()


def test_a_project_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    result = CliRunner().invoke(cli, ["import", "extension.env"])
    assert (result.exit_code, "Which project?" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("written", "own"),
    [
        ("SMTP_PASSWORD", "SMTP_PASSWORD"),
        ("FIREBASE_SECRET_REF_SMTP_PASSWORD", "SMTP_PASSWORD"),
        ("firebaseextensions.v1beta.function/timeoutSeconds", "timeoutseconds"),
        ("firebaseextensions.v1beta.v2function/location", "location"),
        ("EXT_MIGRATED_SYSTEM_VPCCONNECTOR", "vpcconnector"),
        ("FUNCTION_DEFAULT_REGION", "location"),
        ("EXT_SELECTED_EVENTS", "ALLOWED_EVENT_TYPES"),
        ("FIREBASE_EVENTARC_CHANNEL", "EVENTARC_CHANNEL"),
    ],
)
def test_parameters_have_the_extensions_names(written: str, own: str) -> None:
    assert own_name(written) == own


@pytest.mark.parametrize(
    ("written", "value", "secret"),
    [
        ("SMTP_PASSWORD", "projects/${param:PROJECT_NUMBER}/secrets/s-1/versions/latest", ("shop", "s-1", "latest")),
        ("SMTP_PASSWORD", "projects/${param:PROJECT_ID}/secrets/s/versions/2", ("shop", "s", "2")),
        ("SMTP_PASSWORD", "projects/example.com:vault/secrets/s", ("example.com:vault", "s", "latest")),
        ("FIREBASE_SECRET_REF_CLIENT_SECRET", "s:3", ("shop", "s", "3")),
        ("FIREBASE_SECRET_REF_CLIENT_SECRET", "s@3", ("shop", "s", "3")),
        ("FIREBASE_SECRET_REF_CLIENT_SECRET", "s", ("shop", "s", "latest")),
        ("SMTP_PASSWORD", "the password itself", None),
        ("SMTP_PASSWORD", "projects/$(reboot)/secrets/s", None),
        ("MAIL_COLLECTION", "projects/a/secrets/b", None),
    ],
)
def test_a_secret_is_known_by_its_name(written: str, value: str, secret: tuple[str, str, str] | None) -> None:
    assert parameter(written, value, "shop").secret == (SecretVersion(*secret) if secret else None)


def test_the_project_is_filled_in() -> None:
    assert parameter("USER", "mail@${param:PROJECT_ID}.example.com", "shop") == Parameter(
        "USER", "mail@shop.example.com"
    )


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        pytest.param({"SMTP_CONNECTION_URI": ""}, "SMTP_CONNECTION_URI", "The file lacks it", id="no-uri"),
        pytest.param(
            {"SMTP_CONNECTION_URI": "smtps://user@smtp.example.com:465"},
            "SMTP_PASSWORD",
            "secret SMTP_PASSWORD",
            id="kit-with-a-secret-of-its-own",
        ),
        pytest.param(
            {"SMTP_CONNECTION_URI": "smtps://apikey:x@smtp.sendgrid.net:465"},
            "SMTP_CONNECTION_URI",
            "Firepost uses SMTP",
            id="sendgrid-without-smtp-password",
        ),
        pytest.param(
            {"SMTP_CONNECTION_URI": "smtps://user:p@host:465", "SMTP_PASSWORD": "p"},
            "SMTP_CONNECTION_URI",
            "SMTP_PASSWORD replaces the password in it",
            id="two-passwords",
        ),
        pytest.param({"AUTH_TYPE": "ApiKey"}, "AUTH_TYPE", "UsernamePassword", id="another-login"),
        pytest.param({"TTL_EXPIRE_TYPE": "Day", "TTL_EXPIRE_VALUE": "x"}, "TTL_EXPIRE_VALUE", "whole number", id="ttl"),
        pytest.param({"TLS_OPTIONS": '{"pskCallback": 1}'}, "TLS_OPTIONS", "Firepost refuses it", id="tls"),
        pytest.param(
            {"EVENTARC_CHANNEL": "c", "ALLOWED_EVENT_TYPES": ""},
            "EVENTARC_CHANNEL",
            "No types of events are selected",
            id="no-events",
        ),
        pytest.param({"EVENTARC_CHANNEL": "channels/c"}, "EVENTARC_CHANNEL", "It must be projects/", id="channel"),
        pytest.param(
            {"EVENTARC_CHANNEL": "c", "EXT_SELECTED_EVENTS": "onError"}, "EXT_SELECTED_EVENTS", "remove it", id="events"
        ),
        pytest.param({"DEFAULT_FROM": "a@b.c, d@e.f"}, "DEFAULT_FROM", "one address", id="two-senders"),
    ],
)
def test_what_differs_or_is_to_do_is_said(changes: dict[str, str], name: str, words: str) -> None:
    findings = translate(COMPLETE | changes, "shop", "firepost").findings
    assert any(words in each.text for each in findings if each.parameter == name)


@pytest.mark.parametrize(
    ("given", "channel"),
    [
        ("projects/${param:PROJECT_ID}/locations/us-west1/channels/c", "projects/shop/locations/us-west1/channels/c"),
        ("locations/us-west1/channels/c", "projects/shop/locations/us-west1/channels/c"),
        ("firebase", "projects/shop/locations/us-central1/channels/firebase"),
    ],
)
def test_the_channel_of_eventarc_stays_the_same(given: str, channel: str) -> None:
    configuration = translate(COMPLETE | {"EVENTARC_CHANNEL": given}, "shop", "firepost")
    assert configuration.variables["eventarc_channel"] == channel
    assert "EXT_SELECTED_EVENTS" not in configuration.settings


def test_without_selected_types_no_event_is_published() -> None:
    configuration = translate(COMPLETE | {"EVENTARC_CHANNEL": "c", "ALLOWED_EVENT_TYPES": ""}, "shop", "firepost")
    assert "eventarc_channel" not in configuration.variables


def test_a_plain_password_in_the_file_becomes_a_secret_too() -> None:
    configuration = translate(COMPLETE | {"SMTP_PASSWORD": "s3cret"}, "shop", "firepost")
    assert [each.setting for each in configuration.secrets] == ["SMTP_CONNECTION_URI", "SMTP_PASSWORD"]
