"""Addresses that the guard allows."""

from __future__ import annotations

import pytest

from portal.egress.guard import address_refusal

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "169.253.1.1", "2606:4700::1111"),
    *("::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "168.63.129.17"),
]
PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9"),
    *("::1", "fc00::1", "fd12:3456::1", "fec0::1", "2001:db8::1", "3fff::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1", "::127.0.0.2"),
    # Teredo: the server 65.54.227.120, the client's 192.168.1.1 with its bits turned over.
    "2001:0:4136:e378:8000:63bf:3f57:fefe",
]
NEVER = [
    *("169.254.169.254", "169.254.0.1", "169.254.170.2", "fe80::1", "fe80::1%eth0", "febf::1"),
    *("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "192.0.0.1"),
    *("0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.255", "ff02::1", "240.0.0.1", "255.255.255.255"),
    *("100::1", "4000::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::169.254.169.254"),
    *("::ffff:0.0.0.0", "::ffff:255.255.255.255", "64:ff9b:1::a9fe:a9fe"),
    # Teredo with the client 169.254.169.254, and with it as the server.
    *("2001:0:4136:e378:8000:63bf:5601:5601", "2001:0:a9fe:a9fe:8000:63bf:f7f7:f7f7"),
    *("", "localhost", "127.1", "0x7f000001", "2130706433", "1.2.3.4.5"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address):
    assert not address_refusal(address, allow_private=False)
    assert not address_refusal(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_only_by_the_settings(address):
    assert address_refusal(address, allow_private=False)
    assert not address_refusal(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER)
def test_link_local_and_metadata_addresses_are_never_allowed(address):
    assert address_refusal(address, allow_private=True)
    assert address_refusal(address, allow_private=False)
