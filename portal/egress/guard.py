"""Addresses that outgoing calls may connect to. Link-local and metadata addresses are refused in any case.

The lists are our own: the meaning of `ipaddress.is_private` differs between versions of Python.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

# Link-local addresses, the other addresses of cloud metadata services (AWS, Google, Alibaba, Azure, and Oracle in
# 192.0.0.0/24), and addresses that belong to no host.
NEVER = tuple(
    map(
        ip_network,
        (
            *("169.254.0.0/16", "fe80::/10", "fd00:ec2::/32", "fd20:ce::/32"),
            *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.0/24"),
            *("0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8", "240.0.0.0/4"),
        ),
    )
)
# Private, carrier-grade NAT, loopback, documentation and benchmark addresses.
PRIVATE = tuple(
    map(
        ip_network,
        (
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
            *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15"),
            *("::1/128", "fc00::/7", "fec0::/10", "2001:db8::/32", "3fff::/20"),
        ),
    )
)
LOOPBACK_IPV6 = IPv6Address("::1")  # Python 3.13 takes ::ffff:127.0.0.1 for loopback too
GLOBAL_IPV6 = ip_network("2000::/3")
# Prefixes of 96 bits before an IPv4 address: mapped, NAT64, and the IPv4-compatible form that nobody uses any more.
EMBEDDING = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"), ip_network("::/96"))


@lru_cache(maxsize=4096)
def address_refusal(address: str, allow_private: bool) -> str:
    """Return why the IP address must not be connected to (invalid, forbidden or private), or ""."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return "invalid"
    reasons = [refusal_reason(each, allow_private) for each in (parsed, *embedded_addresses(parsed))]
    return next(filter(None, reasons), "")


def refusal_reason(address: IPv4Address | IPv6Address, allow_private: bool) -> str:
    if any(address in network for network in NEVER):
        return "forbidden"
    if any(address in network for network in PRIVATE):
        return "" if allow_private else "private"
    is_usable = address.version == 4 or address in GLOBAL_IPV6 or bool(embedded_addresses(address))
    return "" if is_usable else "forbidden"


def embedded_addresses(address: IPv4Address | IPv6Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that a tunnel or translator would connect to."""
    if not isinstance(address, IPv6Address) or address == LOOPBACK_IPV6:
        return []
    if address.teredo:
        return list(address.teredo)
    if address.sixtofour:
        return [address.sixtofour]
    if any(address in network for network in EMBEDDING):
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return []
