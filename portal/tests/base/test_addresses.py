"""Client address and scheme of a request behind proxies."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse

from portal.base.addresses import ClientAddressMiddleware, client_address, parse_networks, sender_network


@pytest.fixture(autouse=True)
def proxies(settings):
    settings.TRUSTED_PROXIES = parse_networks("TRUSTED_PROXIES", ["10.0.0.0/8", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("", "198.51.100.1", ""),
    ],
)
def test_forwarded_address_counts_only_from_a_trusted_proxy_and_its_nearest_hop(peer, forwarded, client):
    assert client_address(peer, forwarded) == client


@pytest.mark.parametrize(("peer", "secure"), [("10.0.0.1", True), ("203.0.113.9", False)])
def test_forwarded_https_counts_only_from_a_trusted_proxy(rf, peer, secure):
    request = rf.get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-Proto": "https"})
    ClientAddressMiddleware(lambda request: HttpResponse())(request)
    assert request.is_secure() is secure


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_sender_is_an_ipv4_address_or_an_ipv6_network(address, network):
    assert sender_network(address) == network


def test_invalid_network_is_named_in_the_error():
    with pytest.raises(ImproperlyConfigured, match="TRUSTED_PROXIES"):
        parse_networks("TRUSTED_PROXIES", ["proxy.example.org"])
