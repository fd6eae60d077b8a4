from __future__ import annotations

from tests.unit.transport.conftest import https, server_tls

__all__ = ["https", "server_tls"]
