"""The client's address: the peer's, or the one that a trusted proxy reports."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

Network = IPv4Network | IPv6Network
SUBSCRIBER_PREFIX = 64  # what one subscriber of a provider has


def parse_networks(name: str, words: list[str]) -> list[Network]:
    try:
        return [ip_network(word, strict=False) for word in words]
    except ValueError:
        raise ImproperlyConfigured(f"{name} must list addresses or networks such as 10.0.0.0/8.") from None


def parse_address(address: str) -> IPv4Address | IPv6Address:
    """Read an address. Raises ValueError.

    A proxy with a socket of both families says `::ffff:192.0.2.1` of 192.0.2.1.
    """
    parsed = ip_address(address)
    return (isinstance(parsed, IPv6Address) and parsed.ipv4_mapped) or parsed


def sender_network(address: str) -> str:
    """Return the address, of an IPv6 one the network in which its sender can choose another for each request."""
    if ":" not in address:
        return address[:64]
    try:
        parsed = parse_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), SUBSCRIBER_PREFIX), strict=False))
    return str(parsed)


def is_trusted_proxy(address: str) -> bool:
    try:
        peer = parse_address(address)
    except ValueError:
        return False
    return any(peer in network for network in settings.TRUSTED_PROXIES)


def client_address(peer: str, forwarded_for: str) -> str:
    """The nearest address that is not one of our proxies, read from the right: what stands further left is hearsay."""
    address = peer
    for hop in reversed(forwarded_for.split(",")):
        if not is_trusted_proxy(address):
            break
        try:
            address = str(parse_address(hop.strip()))
        except ValueError:
            break
    return address


class ClientAddressMiddleware(MiddlewareMixin):
    """Puts the client's address into REMOTE_ADDR and, where a trusted proxy says so, https into the scheme.

    `untrusted_proxy` of the request is the address of a peer that forwards without being trusted.
    """

    def process_request(self, request: HttpRequest) -> None:
        peer = request.META.get("REMOTE_ADDR", "")
        if settings.TRUSTED_PROXIES and is_trusted_proxy(peer):
            request.META["REMOTE_ADDR"] = client_address(peer, request.META.get("HTTP_X_FORWARDED_FOR", ""))
            if request.META.get("HTTP_X_FORWARDED_PROTO") == "https":
                request.META["wsgi.url_scheme"] = "https"
        elif "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_X_FORWARDED_PROTO" in request.META:
            request.untrusted_proxy = peer  # type: ignore[attr-defined]


def is_this_machine(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
