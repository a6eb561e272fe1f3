"""Whose request it is: the peer's address, or the one a trusted proxy vouches for."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponseBase

Network = IPv4Network | IPv6Network


def networks(name: str, words: list[str]) -> list[Network]:
    try:
        return [ip_network(word, strict=False) for word in words]
    except ValueError:
        raise ImproperlyConfigured(f"{name} must list addresses or networks such as 10.0.0.0/8.") from None


def trusted(address: str) -> bool:
    try:
        peer = ip_address(address)
    except ValueError:
        return False
    return any(peer in network for network in settings.TRUSTED_PROXIES)


def client_address(peer: str, forwarded_for: str) -> str:
    """The nearest address that is not one of our proxies, read from the right: what stands further left is hearsay."""
    address = peer
    for hop in reversed(forwarded_for.split(",")):
        if not trusted(address):
            break
        try:
            address = str(ip_address(hop.strip()))
        except ValueError:
            break
    return address


class ClientAddressMiddleware:
    """Puts the client's address into REMOTE_ADDR and, where a trusted proxy says so, https into the scheme."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        peer = request.META.get("REMOTE_ADDR", "")
        if settings.TRUSTED_PROXIES and trusted(peer):
            request.META["REMOTE_ADDR"] = client_address(peer, request.META.get("HTTP_X_FORWARDED_FOR", ""))
            if request.META.get("HTTP_X_FORWARDED_PROTO") == "https":
                request.META["wsgi.url_scheme"] = "https"
        return self.get_response(request)
