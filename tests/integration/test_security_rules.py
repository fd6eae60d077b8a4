"""The example security rules in docs/security.md, applied by Google's own emulator."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from google.protobuf import json_format

from shared.firestore.values import encode
from tests.integration.backends import needs_google
from tests.integration.emulator import TIMEOUT, firestore_emulator, set_rules

pytestmark = [pytest.mark.integration, needs_google, pytest.mark.xdist_group("security rules")]

ROOT = Path(__file__).parents[2]
NOBODY_BUT_SERVERS, OWN_MAIL_BY_TEMPLATE, WHOLE_MAILS_BY_STAFF = re.findall(
    r"```\n(rules_version.*?)```", (ROOT / "docs" / "security.md").read_text(), re.DOTALL
)

ADA = "ada@example.com"
MAIL: dict[str, Any] = {"to": ADA, "template": {"name": "welcome", "data": {"firstName": "Ada"}}}
WHOLE: dict[str, Any] = {"to": ADA, "message": {"subject": "Hello", "text": "there"}}

#: What a user may try to write as a new document's `delivery`.
FORGED: dict[str, Any] = {
    "null": None,
    "an-empty-map": {},
    "a-text": "SUCCESS",
    "a-success": {"state": "SUCCESS"},
    "a-request": {"state": "RETRY"},
    "somebody-elses-address": {"state": "RETRY", "resumes": True, "info": {"pending": ["victim@example.com"]}},
    "a-lease": {"state": "PROCESSING", "leaseExpireTime": datetime(9999, 1, 1, tzinfo=UTC)},
}
forged = pytest.mark.parametrize("delivery", FORGED.values(), ids=FORGED)


def token(email: str, *, verified: bool = True, **custom: bool) -> str:
    """A user's token as Firebase Authentication issues it, unsigned: an emulator accepts that."""
    now = int(time.time())
    claims = {"sub": email, "email": email, "email_verified": verified, "iat": now, "exp": now + 3600, **custom}
    parts = (json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


class Database:
    """A Firestore with rules. Each method returns whether they allow it to the user with the token `bearer`."""

    def __init__(self, address: str, project: str, rules: str) -> None:
        self._documents = f"http://{address}/v1/projects/{project}/databases/(default)/documents"
        set_rules(address, project, rules)

    def create(self, path: str, mail: dict[str, Any], bearer: str | None) -> bool:
        return self._asked("PATCH", path, bearer, {"currentDocument.exists": "false"}, mail)

    def request_retry(self, path: str, bearer: str) -> bool:
        changes = {"delivery": {"state": "RETRY"}}
        return self._asked("PATCH", path, bearer, {"updateMask.fieldPaths": "delivery"}, changes)

    def get(self, path: str, bearer: str) -> bool:
        return self._asked("GET", path, bearer)

    def delete(self, path: str, bearer: str) -> bool:
        return self._asked("DELETE", path, bearer)

    def _asked(
        self, method: str, path: str, bearer: str | None, parameters: dict[str, str] | None = None, fields: Any = None
    ) -> bool:
        answer = requests.request(
            method,
            f"{self._documents}/{path}",
            params=parameters,
            headers={"Authorization": f"Bearer {bearer}"} if bearer else {},
            json=None if fields is None else json_format.MessageToDict(encode(fields).map_value),
            timeout=TIMEOUT,
        )
        assert answer.status_code in (200, 403), answer.text
        return answer.ok


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an emulator, in which each project has separate rules."""
    with firestore_emulator(tmp_path_factory.mktemp("emulator") / "log") as address:
        yield address


@pytest.fixture(scope="module")
def closed(emulator: str) -> Database:
    return Database(emulator, "closed", NOBODY_BUT_SERVERS)


@pytest.fixture(scope="module")
def opened(emulator: str) -> Database:
    database = Database(emulator, "opened", OWN_MAIL_BY_TEMPLATE)
    assert database.create("mail/adas", MAIL, token(ADA))
    return database


@pytest.fixture(scope="module")
def staffed(emulator: str) -> Database:
    database = Database(emulator, "staffed", WHOLE_MAILS_BY_STAFF)
    assert database.create("mail/staffs", WHOLE, token(ADA, staff=True))
    return database


@pytest.mark.parametrize("name", ["control", "reconciler"])
def test_no_rules_let_a_user_pause_mail(closed: Database, opened: Database, staffed: Database, name: str) -> None:
    for database in (closed, opened, staffed):
        assert not database.create(f"mail-firepost/{name}", {"pausedTime": datetime.now(UTC)}, token(ADA, staff=True))
        assert not database.get(f"mail-firepost/{name}", token(ADA, staff=True))


@forged
def test_no_open_rules_let_a_user_write_delivery(opened: Database, staffed: Database, delivery: Any) -> None:
    assert not opened.create("mail/forged", MAIL | {"delivery": delivery}, token(ADA))
    assert not staffed.create("mail/forged", WHOLE | {"delivery": delivery}, token(ADA, staff=True))


@pytest.mark.parametrize(
    ("mail", "bearer"),
    [
        pytest.param(WHOLE, None, id="by-nobody"),
        pytest.param(WHOLE, token(ADA), id="by-somebody-else"),
        pytest.param(WHOLE, token(ADA, staff=False), id="by-former-staff"),
        pytest.param(WHOLE | {"from": "boss@example.com"}, token(ADA, staff=True), id="as-somebody-else"),
        pytest.param(WHOLE | {"transport": "billing"}, token(ADA, staff=True), id="by-another-transport"),
        pytest.param(
            WHOLE | {"message": {"text": "", "attachments": [{"bucket": "private", "object": "x"}]}},
            token(ADA, staff=True),
            id="with-our-files",
        ),
    ],
)
def test_rules_for_staff_let_no_other_mail_through(staffed: Database, mail: dict[str, Any], bearer: str | None) -> None:
    assert not staffed.create("mail/refused", mail, bearer)


def test_rules_for_staff_let_nobody_send_again(staffed: Database) -> None:
    assert staffed.get("mail/staffs", token(ADA, staff=True))
    assert not staffed.get("mail/staffs", token(ADA))
    assert not staffed.request_retry("mail/staffs", token(ADA, staff=True))


def test_closed_rules_let_no_user_write_or_read_and_servers_do(closed: Database) -> None:
    assert not closed.create("mail/one", MAIL, token(ADA))
    assert closed.create("mail/one", MAIL, "owner")  # the emulator's equivalent of IAM access
    assert not closed.get("mail/one", token(ADA))


@pytest.mark.parametrize(
    ("mail", "bearer"),
    [
        pytest.param(MAIL, None, id="by-nobody"),
        pytest.param(MAIL, token(ADA, verified=False), id="to-an-unverified-address"),
        pytest.param(MAIL, token("mallory@example.com"), id="to-somebody-else"),
        pytest.param(MAIL | {"to": [ADA, "bob@example.com"]}, token(ADA), id="to-others-too"),
        pytest.param(MAIL | {"message": {"text": "Buy!"}}, token(ADA), id="with-custom-text"),
        pytest.param(MAIL | {"from": "boss@example.com"}, token(ADA), id="as-somebody-else"),
        pytest.param(MAIL | {"template": {"name": "invoice", "data": {}}}, token(ADA), id="by-another-template"),
        pytest.param(
            MAIL | {"template": {"name": "welcome", "data": {"firstName": "A" * 51}}}, token(ADA), id="at-length"
        ),
    ],
)
def test_open_rules_let_no_mail_through(opened: Database, mail: dict[str, Any], bearer: str | None) -> None:
    assert not opened.create("mail/refused", mail, bearer)


@pytest.mark.parametrize(
    ("action", "bearer", "allowed"),
    [
        pytest.param(Database.get, token(ADA), True, id="read-own"),
        pytest.param(Database.get, token("mallory@example.com"), False, id="read-anothers"),
        pytest.param(Database.request_retry, token(ADA), False, id="send-again"),
        pytest.param(Database.delete, token(ADA), False, id="delete"),
    ],
)
def test_what_open_rules_let_users_do_with_a_mail(
    opened: Database, action: Callable[[Database, str, str], bool], bearer: str, allowed: bool
) -> None:
    assert action(opened, "mail/adas", bearer) is allowed
