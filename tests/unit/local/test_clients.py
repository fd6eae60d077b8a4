from __future__ import annotations

import pytest

from local.backends.embedded import EmbeddedBackend
from local.clients import firestore_client
from tests.unit.local.conftest import PROJECT


def test_a_closed_client_of_firestore_has_no_connection_left(backend: EmbeddedBackend) -> None:
    client = firestore_client(backend.firestore, PROJECT)
    assert not client.document("mail/a").get().exists
    client.close()
    with pytest.raises(ValueError, match="Channel closed"):
        client.document("mail/a").get()
