from __future__ import annotations

from tests.unit.sender.transport.conftest import https, server_tls

__all__ = ["https", "server_tls"]
