"""What all unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trustme


@pytest.fixture(scope="session", autouse=True)
def system_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give OpenSSL one authority of ours, of which nobody has a certificate, in place of the system's hundreds.

    To read those takes 20 ms, and more than a hundred tests make a context with the defaults.
    """
    bundle = tmp_path_factory.mktemp("authorities") / "bundle.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(bundle))
        yield
