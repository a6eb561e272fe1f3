"""Error kinds of checks in words: a label for each, and sentences with the detail."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from monitoring.probe.kinds import ErrorKind

ERROR_LABELS: dict[str, Promise] = {
    ErrorKind.DNS.value: _("Name not resolved"),
    ErrorKind.BLOCKED.value: _("Address not allowed"),
    ErrorKind.CONNECT.value: _("Connection failed"),
    ErrorKind.TLS.value: _("Certificate or TLS"),
    ErrorKind.TIMEOUT.value: _("Timeout"),
    ErrorKind.PROTOCOL.value: _("Not valid HTTP"),
    ErrorKind.REDIRECT.value: _("Redirect"),
    ErrorKind.STATUS.value: _("Status not expected"),
    ErrorKind.ASSERTION.value: _("Content not as expected"),
}
ERROR_CHOICES = list(ERROR_LABELS.items())
TLS_PROTOCOL = "protocol"
# Sentences by error kind and detail. An empty detail stands for any other one.
ERROR_SENTENCES: dict[tuple[str, str], Promise] = {
    (ErrorKind.DNS, "timeout"): _("The lookup of its name took too long."),
    (ErrorKind.DNS, ""): _("Its name could not be resolved."),
    (ErrorKind.BLOCKED, ""): _("Its address may not be probed: %(detail)s."),
    (ErrorKind.CONNECT, "ECONNREFUSED"): _("The connection was refused."),
    (ErrorKind.CONNECT, "ECONNRESET"): _("The connection was reset."),
    (ErrorKind.CONNECT, "EPIPE"): _("The connection was reset."),
    (ErrorKind.CONNECT, "ECONNABORTED"): _("The connection was reset."),
    (ErrorKind.CONNECT, "EHOSTUNREACH"): _("There is no route to its address."),
    (ErrorKind.CONNECT, "ENETUNREACH"): _("There is no route to its address."),
    (ErrorKind.CONNECT, "closed"): _("The connection was closed without an answer."),
    (ErrorKind.CONNECT, "incomplete"): _("The answer broke off."),
    (ErrorKind.CONNECT, ""): _("The connection failed: %(detail)s."),
    (ErrorKind.TLS, TLS_PROTOCOL): _("There was no secure connection: %(detail)s."),
    (ErrorKind.TLS, ""): _("The certificate is not valid: %(detail)s."),
    (ErrorKind.TIMEOUT, "connect"): _("There was no connection in time."),
    (ErrorKind.TIMEOUT, "tls"): _("There was no connection in time."),
    (ErrorKind.TIMEOUT, "body"): _("The answer was not whole in time."),
    (ErrorKind.TIMEOUT, ""): _("There was no answer in time."),
    (ErrorKind.PROTOCOL, ""): _("The answer is not valid HTTP (%(detail)s)."),
    (ErrorKind.REDIRECT, "too_many"): _("It redirected too many times."),
    (ErrorKind.REDIRECT, "scheme"): _("It redirected to something other than http or https."),
    (ErrorKind.REDIRECT, "credentials"): _("It redirected to an address with credentials."),
    (ErrorKind.REDIRECT, ""): _("It redirected to something that is no address."),
    (ErrorKind.STATUS, ""): _("It answered %(detail)s."),
    (ErrorKind.ASSERTION, "contains"): _("The answer does not contain the expected text."),
    (ErrorKind.ASSERTION, "content_encoding"): _("The answer is not compressed as it says."),
    (ErrorKind.ASSERTION, "json"): _("The answer is not valid JSON."),
    (ErrorKind.ASSERTION, "json_size"): _("The answer is too much JSON to look into."),
    (ErrorKind.ASSERTION, "json_path"): _("The answer has no value at the JSON path."),
    (ErrorKind.ASSERTION, "json_value"): _("The value at the JSON path is not the expected one."),
    (ErrorKind.ASSERTION, "header_name"): _("The answer lacks the expected header."),
    (ErrorKind.ASSERTION, ""): _("The header does not have the expected value."),
}


def describe_error(kind: str, detail: str) -> str:
    """Describe the error of a ProbeOutcome in one sentence, in the active language. Return "" for a good check."""
    key = shown = detail
    if kind == ErrorKind.TLS:
        # OpenSSL writes protocol errors in capitals and certificate errors in words, some with a full stop.
        key, shown = (TLS_PROTOCOL, detail) if detail.isupper() else ("", detail.rstrip("."))
    sentence = ERROR_SENTENCES.get((kind, key)) or ERROR_SENTENCES.get((kind, ""))
    return str(sentence) % {"detail": shown} if sentence else detail
