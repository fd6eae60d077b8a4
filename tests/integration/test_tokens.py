"""With verified tokens, as in production: the services accept Google's signature, and no other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from local.options import StackOptions
from local.stack import Stack
from tests.integration.system import PATIENCE, System
from tests.smtp_server import ScriptedServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A stack with its defaults, apart from the mail server."""
    with (
        ScriptedServer() as server,
        Stack(StackOptions(smtp_uri=server.uri(), reconcile_seconds=0.2)) as stack,
    ):
        system = System(stack, server)
        yield system
        system.close()


def test_what_google_calls_is_signed(system: System) -> None:
    path = system.write({"to": "a@example.com", "message": {"subject": "s", "text": "t"}})
    assert system.concluded(path)["state"] == "SUCCESS"


@pytest.mark.parametrize("service", ["dispatcher", "sender"])
def test_the_console_signs_a_token_for_one_service(system: System, service: str) -> None:
    token = requests.get(f"{system.stack.ready['inbox']}/api/tokens/{service}", timeout=PATIENCE).text.strip()
    answers = {
        name: requests.post(
            f"{system.stack.ready[name]}/", json={}, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
        ).status_code
        for name in ("dispatcher", "sender")
    }
    assert answers.pop(service) in (200, 400)  # let in; it just isn't an event or a push
    assert set(answers.values()) == {401}


@pytest.mark.parametrize(
    ("service", "path"),
    [("sender", "/"), ("dispatcher", "/"), ("dispatcher", "/reconcile"), ("dispatcher", "/dead-letters")],
)
@pytest.mark.parametrize("authorization", ["", "Bearer x.y.z", "Basic YTpi"])
def test_nobody_else_is_let_in(system: System, service: str, path: str, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = requests.post(system.stack.ready[service] + path, json={}, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 401
