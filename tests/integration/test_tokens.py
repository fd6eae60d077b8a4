"""With verified tokens, as in production: the services accept Google's signature, and no other."""

from __future__ import annotations

import pytest
import requests

from local.options import StackOptions
from local.stack import Stack
from tests.integration.system import PATIENCE, System
from tests.smtp_server import ScriptedServer

pytestmark = pytest.mark.integration


def test_only_signed_calls_are_let_in() -> None:
    with ScriptedServer() as server:
        options = StackOptions(backend="embedded", smtp_uri=server.uri(), verify_tokens=True, reconcile_seconds=0.2)
        with Stack(options) as stack:
            system = System(stack, server)
            path = system.write({"to": "a@example.com", "message": {"subject": "s", "text": "t"}})
            assert system.concluded(path)["state"] == "SUCCESS"
            assert system.push({"document": path}).status_code == 401
            for path in ("/", "/reconcile", "/dead-letters"):
                assert requests.post(stack.ready["dispatcher"] + path, timeout=PATIENCE).status_code == 401
            system.close()
