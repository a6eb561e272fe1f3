"""Why a check failed: a few kinds that code acts on, and a sentence for people."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy


class ErrorKind(models.TextChoices):
    DNS = "dns", gettext_lazy("Name not resolved")
    BLOCKED = "blocked", gettext_lazy("Address not allowed")
    CONNECT = "connect", gettext_lazy("Connection failed")
    TLS = "tls", gettext_lazy("Certificate or TLS")
    TIMEOUT = "timeout", gettext_lazy("Timeout")
    PROTOCOL = "protocol", gettext_lazy("Not valid HTTP")
    REDIRECT = "redirect", gettext_lazy("Redirect")
    STATUS = "status", gettext_lazy("Status not expected")
    ASSERTION = "assertion", gettext_lazy("Content not as expected")


# What our own network may be to blame for; with the others, the target did answer.
NETWORK = frozenset({ErrorKind.DNS.value, ErrorKind.CONNECT.value, ErrorKind.TIMEOUT.value})


def sentence(kind: str, detail: str) -> str:
    """Of what `Outcome` says, in the language of the moment; "" for a check that held."""
    match kind, detail:
        case ErrorKind.DNS, "timeout":
            return _("The lookup of its name took too long.")
        case ErrorKind.DNS, _detail:
            return _("Its name could not be resolved.")
        case ErrorKind.BLOCKED, _detail:
            return _("Its address may not be probed: %(detail)s.") % {"detail": detail}
        case ErrorKind.CONNECT, _detail:
            return of_connection(detail)
        case ErrorKind.TLS, _detail:
            return of_tls(detail)
        case ErrorKind.TIMEOUT, "connect" | "tls":
            return _("There was no connection in time.")
        case ErrorKind.TIMEOUT, "body":
            return _("The answer was not whole in time.")
        case ErrorKind.TIMEOUT, _detail:
            return _("There was no answer in time.")
        case ErrorKind.PROTOCOL, _detail:
            return _("The answer is not valid HTTP (%(detail)s).") % {"detail": detail}
        case ErrorKind.REDIRECT, _detail:
            return of_redirect(detail)
        case ErrorKind.STATUS, _detail:
            return _("It answered %(detail)s.") % {"detail": detail}
        case ErrorKind.ASSERTION, _detail:
            return of_assertion(detail)
    return detail


def of_connection(detail: str) -> str:
    match detail:
        case "ECONNREFUSED":
            return _("The connection was refused.")
        case "ECONNRESET" | "EPIPE" | "ECONNABORTED":
            return _("The connection was reset.")
        case "EHOSTUNREACH" | "ENETUNREACH":
            return _("There is no route to its address.")
        case "closed":
            return _("The connection was closed without an answer.")
        case "incomplete":
            return _("The answer broke off.")
    return _("The connection failed: %(detail)s.") % {"detail": detail}


def of_tls(detail: str) -> str:
    """OpenSSL names what is wrong with a protocol in capitals, and what is wrong with a certificate in words."""
    if detail.isupper():
        return _("There was no secure connection: %(detail)s.") % {"detail": detail}
    return _("The certificate is not valid: %(detail)s.") % {"detail": detail.rstrip(".")}


def of_redirect(detail: str) -> str:
    match detail:
        case "too_many":
            return _("It redirected too many times.")
        case "scheme":
            return _("It redirected to something other than http or https.")
        case "credentials":
            return _("It redirected to an address with credentials.")
    return _("It redirected to something that is no address.")


def of_assertion(detail: str) -> str:
    match detail:
        case "contains":
            return _("The answer does not contain the expected text.")
        case "content_encoding":
            return _("The answer is not compressed as it says.")
        case "json":
            return _("The answer is not valid JSON.")
        case "json_size":
            return _("The answer is too much JSON to look into.")
        case "json_path":
            return _("The answer has no value at the JSON path.")
        case "json_value":
            return _("The value at the JSON path is not the expected one.")
        case "header_name":
            return _("The answer lacks the expected header.")
    return _("The header does not have the expected value.")
