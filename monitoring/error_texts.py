"""Error kinds of checks in words: a label each, and a sentence with the detail."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from monitoring.probe.kinds import ErrorKind

ERROR_LABELS: dict[str, Promise] = {
    ErrorKind.DNS.value: gettext_lazy("Name not resolved"),
    ErrorKind.BLOCKED.value: gettext_lazy("Address not allowed"),
    ErrorKind.CONNECT.value: gettext_lazy("Connection failed"),
    ErrorKind.TLS.value: gettext_lazy("Certificate or TLS"),
    ErrorKind.TIMEOUT.value: gettext_lazy("Timeout"),
    ErrorKind.PROTOCOL.value: gettext_lazy("Not valid HTTP"),
    ErrorKind.REDIRECT.value: gettext_lazy("Redirect"),
    ErrorKind.STATUS.value: gettext_lazy("Status not expected"),
    ErrorKind.ASSERTION.value: gettext_lazy("Content not as expected"),
}
ERROR_CHOICES = list(ERROR_LABELS.items())


def describe_error(kind: str, detail: str) -> str:
    """Describe the error of a ProbeOutcome in one sentence, in the active language. Return "" for a good check."""
    match kind, detail:
        case ErrorKind.DNS, "timeout":
            return _("The lookup of its name took too long.")
        case ErrorKind.DNS, _detail:
            return _("Its name could not be resolved.")
        case ErrorKind.BLOCKED, _detail:
            return _("Its address may not be probed: %(detail)s.") % {"detail": detail}
        case ErrorKind.CONNECT, _detail:
            return describe_connection_error(detail)
        case ErrorKind.TLS, _detail:
            return describe_tls_error(detail)
        case ErrorKind.TIMEOUT, "connect" | "tls":
            return _("There was no connection in time.")
        case ErrorKind.TIMEOUT, "body":
            return _("The answer was not whole in time.")
        case ErrorKind.TIMEOUT, _detail:
            return _("There was no answer in time.")
        case ErrorKind.PROTOCOL, _detail:
            return _("The answer is not valid HTTP (%(detail)s).") % {"detail": detail}
        case ErrorKind.REDIRECT, _detail:
            return describe_redirect_error(detail)
        case ErrorKind.STATUS, _detail:
            return _("It answered %(detail)s.") % {"detail": detail}
        case ErrorKind.ASSERTION, _detail:
            return describe_assertion_error(detail)
    return detail


def describe_connection_error(detail: str) -> str:
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


def describe_tls_error(detail: str) -> str:
    """OpenSSL writes protocol errors in capitals and certificate errors in words."""
    if detail.isupper():
        return _("There was no secure connection: %(detail)s.") % {"detail": detail}
    return _("The certificate is not valid: %(detail)s.") % {"detail": detail.rstrip(".")}


def describe_redirect_error(detail: str) -> str:
    match detail:
        case "too_many":
            return _("It redirected too many times.")
        case "scheme":
            return _("It redirected to something other than http or https.")
        case "credentials":
            return _("It redirected to an address with credentials.")
    return _("It redirected to something that is no address.")


def describe_assertion_error(detail: str) -> str:
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
