"""Where downloads may go: to public addresses, and to hosts that the operator allows.

The check is made on the addresses that a name resolves to, and the connection is made to the very addresses that were
checked: a name that resolves differently the next time (DNS rebinding) gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network

from sender.downloads.source import CannotFetch
from sender.net import host_patterns
from sender.net.dial import resolve
from shared.deadline import Deadline

#: IP addresses of a host, in the order in which to try them. Raises `OSError` or `CannotFetch`.
Resolve = Callable[[str, int, Deadline], Sequence[str]]

# Taken for global, and yet not: protocol assignments (among them Oracle's metadata; newer Pythons know), 6to4 relays
# (RFC 7526), and the address at which Azure's host talks to its virtual machines.
_NOT_PUBLIC_V4 = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")))
# All that was ever given out to the public; outside are the forms that hide an IPv4 address (mapped, NAT64 64:ff9b::).
_PUBLIC_V6 = ip_network("2000::/3")
# Inside it: Teredo and other experiments, documentation, 6to4. Not all versions of Python know them.
_NOT_PUBLIC_V6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public Internet: not to a private network, to this machine or its host."""
    ip = ip_address(address.partition("%")[0])
    if not ip.is_global or ip.is_multicast:
        return False
    if isinstance(ip, IPv4Address):
        return not any(ip in network for network in _NOT_PUBLIC_V4)
    return ip in _PUBLIC_V6 and not any(ip in network for network in _NOT_PUBLIC_V6)


def public_addresses(host: str, port: int, deadline: Deadline, look_up: Resolve = resolve) -> list[str]:
    """The host's public addresses. Raises `CannotFetch` if it has none, `OSError` if it does not resolve."""
    public = [address for address in look_up(host, port, deadline) if is_public(address)]
    if not public:
        raise CannotFetch("a host without a public address", "a host on the public Internet")
    return public


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that may be asked: any, or those named, `*.example.com` standing for all below `example.com`."""

    patterns: frozenset[str] | None

    @classmethod
    def parse(cls, setting: str) -> Hosts:
        """ATTACHMENT_HOSTS: `*` for any, or host names and patterns separated by commas. Raises `Misconfigured`."""
        if setting.strip() == "*":
            return cls(None)
        return cls(host_patterns.parse("ATTACHMENT_HOSTS", setting, also=", '*' or 'none'"))

    def __contains__(self, host: str) -> bool:
        patterns = self.patterns
        return patterns is None or any(pattern in patterns for pattern in host_patterns.patterns_for(host))
