"""Restricts downloads to public addresses and to the hosts that the operator allows.

The resolved addresses are checked, and the connection goes to exactly those: DNS rebinding, where a name resolves
differently the next time, achieves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network

from sender.downloads.source import CannotFetch
from sender.net import host_patterns
from sender.net.dial import resolve
from shared.deadline import Deadline

#: Resolves host and port to IP addresses, in the order to try them. Raises `OSError` or `CannotFetch`.
Resolve = Callable[[str, int, Deadline], Sequence[str]]

# `is_global` for Python, but not public: protocol assignments (including Oracle's metadata server; newer versions of
# Python exclude them), 6to4 relays (RFC 7526), and the address of Azure's host on its virtual machines.
_NOT_PUBLIC_V4 = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
# All public IPv6 addresses are in this range; those that embed an IPv4 address (mapped, NAT64 64:ff9b::) are not.
_PUBLIC_V6 = ip_network("2000::/3")
# Exceptions within it: Teredo and other experiments, documentation, 6to4. Not all versions of Python know them.
_NOT_PUBLIC_V6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


def is_public(address: str) -> bool:
    """Whether an IP address is on the public Internet: not in a private network, not this machine or its host."""
    ip = ip_address(address.partition("%")[0])
    if not ip.is_global or ip.is_multicast:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_PUBLIC_V4)
    return ip in _PUBLIC_V6 and not any(ip in network for network in _NOT_PUBLIC_V6)


def public_addresses(host: str, port: int, deadline: Deadline, look_up: Resolve = resolve) -> list[str]:
    """The host's public IP addresses. Raises `CannotFetch` if it has none, `OSError` if it does not resolve."""
    public = [address for address in look_up(host, port, deadline) if is_public(address)]
    if not public:
        raise CannotFetch("a host without a public address", "a host on the public Internet")
    return public


@dataclass(frozen=True, slots=True)
class Hosts:
    """The allowed hosts: any (None), or those that match one of the patterns."""

    patterns: frozenset[str] | None

    @classmethod
    def parse(cls, setting: str) -> Hosts:
        """From ATTACHMENT_HOSTS: `*` for any, or comma-separated patterns. Raises `Misconfigured`."""
        if setting.strip() == "*":
            return cls(None)
        return cls(host_patterns.parse("ATTACHMENT_HOSTS", setting, also=", '*' or 'none'"))

    def __contains__(self, host: str) -> bool:
        patterns = self.patterns
        return patterns is None or any(pattern in patterns for pattern in host_patterns.patterns_for(host))
