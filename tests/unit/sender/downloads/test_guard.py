from __future__ import annotations

from collections.abc import Sequence

import pytest

from sender.downloads.guard import Hosts, is_public, public_addresses
from sender.downloads.source import CannotFetch
from shared.deadline import Deadline
from shared.errors import Misconfigured


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "172.15.0.1", "2606:4700::1111", "2a00:1450:4001::8a"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("127.0.0.1", id="loopback"),
        pytest.param("127.8.9.10", id="loopback, another"),
        pytest.param("0.0.0.0", id="this host"),
        pytest.param("10.1.2.3", id="private 10/8"),
        pytest.param("172.16.0.1", id="private 172.16/12"),
        pytest.param("192.168.1.1", id="private 192.168/16"),
        pytest.param("100.64.0.1", id="carrier's NAT"),
        pytest.param("100.100.100.200", id="Alibaba's metadata"),
        pytest.param("169.254.169.254", id="metadata"),
        pytest.param("168.63.129.16", id="Azure's host"),
        pytest.param("192.0.0.192", id="Oracle's metadata"),
        pytest.param("192.88.99.1", id="6to4 relay"),
        pytest.param("198.18.0.1", id="benchmarks"),
        pytest.param("203.0.113.7", id="documentation"),
        pytest.param("224.0.0.1", id="multicast"),
        pytest.param("233.252.0.1", id="multicast, documentation"),
        pytest.param("240.0.0.1", id="reserved"),
        pytest.param("255.255.255.255", id="broadcast"),
        pytest.param("::", id="this host, IPv6"),
        pytest.param("::1", id="loopback, IPv6"),
        pytest.param("::127.0.0.1", id="IPv4-compatible"),
        pytest.param("::ffff:10.0.0.1", id="IPv4-mapped, private"),
        pytest.param("::ffff:8.8.8.8", id="IPv4-mapped, public"),
        pytest.param("64:ff9b::a9fe:a9fe", id="NAT64 of metadata"),
        pytest.param("64:ff9b:1::a00:1", id="local NAT64"),
        pytest.param("2002:7f00:1::", id="6to4 of loopback"),
        pytest.param("2001:0:7f00:1::1", id="Teredo"),
        pytest.param("2001:db8::1", id="documentation, IPv6"),
        pytest.param("3fff::1", id="documentation, IPv6, new"),
        pytest.param("fd20:ce::254", id="Google's metadata, IPv6"),
        pytest.param("fd00:ec2::254", id="Amazon's metadata, IPv6"),
        pytest.param("fe80::1", id="link-local"),
        pytest.param("fe80::1%eth0", id="link-local with a zone"),
        pytest.param("fec0::1", id="site-local"),
        pytest.param("ff02::1", id="multicast, IPv6"),
        pytest.param("ff0e::1", id="multicast, IPv6, global"),
        pytest.param("5f00::1", id="segment routing"),
    ],
)
def test_other_addresses_are_not_allowed(address: str) -> None:
    assert not is_public(address)


def looked_up(*addresses: str) -> list[str]:
    def look_up(host: str, port: int, deadline: Deadline) -> Sequence[str]:
        return addresses

    return public_addresses("x.y", 443, Deadline.after(1), look_up)


def test_only_public_addresses_of_a_host_are_tried() -> None:
    assert looked_up("10.0.0.1", "8.8.8.8", "::1", "8.8.4.4") == ["8.8.8.8", "8.8.4.4"]


def test_a_host_without_a_public_address_is_refused() -> None:
    with pytest.raises(CannotFetch, match="a host without a public address") as caught:
        looked_up("10.0.0.1", "fe80::1%eth0")
    assert not caught.value.transient


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::1]".strip("[]")])
def test_all_notations_of_the_loopback_address_are_refused(host: str) -> None:
    with pytest.raises(CannotFetch, match="without a public address"):
        public_addresses(host, 443, Deadline.after(5))


@pytest.mark.parametrize(
    ("setting", "host", "allowed"),
    [
        pytest.param("*", "any.example.com", True, id="any"),
        pytest.param("cdn.example.com", "cdn.example.com", True, id="named"),
        pytest.param(" CDN.example.com , b.c,", "cdn.example.com", True, id="among several"),
        pytest.param("cdn.example.com", "example.com", False, id="parent of a named one"),
        pytest.param("example.com", "cdn.example.com", False, id="child of a named one"),
        pytest.param("*.example.com", "a.b.example.com", True, id="below a pattern"),
        pytest.param("*.example.com", "example.com", False, id="the pattern's own domain"),
        pytest.param("*.example.com", "badexample.com", False, id="another domain with the same end"),
    ],
)
def test_hosts_are_allowed_by_name_or_pattern(setting: str, host: str, allowed: bool) -> None:
    assert (host in Hosts.parse(setting)) is allowed


@pytest.mark.parametrize("setting", ["https://x.y", "x.y/z", "a.*.b", "x.y:443", "*.", "**"])
def test_an_invalid_list_of_hosts_prevents_the_start(setting: str) -> None:
    with pytest.raises(Misconfigured, match="ATTACHMENT_HOSTS"):
        Hosts.parse(setting)
