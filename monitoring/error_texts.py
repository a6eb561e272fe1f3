"""Error kinds of checks in words: a label for each, and sentences with the detail."""

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from monitoring.probe.kinds import ErrorKind

ERROR_LABELS: dict[str, Promise] = {
    ErrorKind.DNS.value: _("Host name not resolved"),
    ErrorKind.BLOCKED.value: _("Address not allowed"),
    ErrorKind.CONNECT.value: _("Connection failed"),
    ErrorKind.TLS.value: _("Certificate or TLS"),
    ErrorKind.TIMEOUT.value: _("Timeout"),
    ErrorKind.PROTOCOL.value: _("Invalid HTTP"),
    ErrorKind.REDIRECT.value: _("Redirect"),
    ErrorKind.STATUS.value: _("Unexpected status code"),
    ErrorKind.ASSERTION.value: _("Unexpected content"),
}
ERROR_CHOICES = list(ERROR_LABELS.items())
TLS_PROTOCOL = "protocol"
# Sentences by error kind and detail. An empty detail stands for any other one.
ERROR_SENTENCES: dict[tuple[str, str], Promise] = {
    (ErrorKind.DNS, "timeout"): _("Resolving the host name took too long."),
    (ErrorKind.DNS, ""): _("The host name could not be resolved."),
    (ErrorKind.BLOCKED, ""): _("Checks of this address are not allowed: %(detail)s."),
    (ErrorKind.CONNECT, "ECONNREFUSED"): _("The connection was refused."),
    (ErrorKind.CONNECT, "ECONNRESET"): _("The connection was reset."),
    (ErrorKind.CONNECT, "EPIPE"): _("The connection was reset."),
    (ErrorKind.CONNECT, "ECONNABORTED"): _("The connection was reset."),
    (ErrorKind.CONNECT, "EHOSTUNREACH"): _("There is no route to the host."),
    (ErrorKind.CONNECT, "ENETUNREACH"): _("There is no route to the host."),
    (ErrorKind.CONNECT, "closed"): _("The connection was closed without a response."),
    (ErrorKind.CONNECT, "incomplete"): _("The response was incomplete."),
    (ErrorKind.CONNECT, ""): _("The connection failed: %(detail)s."),
    (ErrorKind.TLS, TLS_PROTOCOL): _("The TLS connection failed: %(detail)s."),
    (ErrorKind.TLS, ""): _("The certificate is not valid: %(detail)s."),
    (ErrorKind.TIMEOUT, "connect"): _("The connection timed out."),
    (ErrorKind.TIMEOUT, "tls"): _("The connection timed out."),
    (ErrorKind.TIMEOUT, "body"): _("The response was not complete before the timeout."),
    (ErrorKind.TIMEOUT, ""): _("There was no response before the timeout."),
    (ErrorKind.PROTOCOL, ""): _("The response is not valid HTTP (%(detail)s)."),
    (ErrorKind.REDIRECT, "too_many"): _("Too many redirects."),
    (ErrorKind.REDIRECT, "scheme"): _("Redirected to something other than http or https."),
    (ErrorKind.REDIRECT, "credentials"): _("Redirected to a URL with a user name or password."),
    (ErrorKind.REDIRECT, ""): _("Redirected to an invalid URL."),
    (ErrorKind.STATUS, ""): _("The response status was %(detail)s."),
    (ErrorKind.ASSERTION, "contains"): _("The response doesn’t contain the expected text."),
    (ErrorKind.ASSERTION, "content_encoding"): _("The response isn’t compressed as its Content-Encoding says."),
    (ErrorKind.ASSERTION, "json"): _("The response is not valid JSON."),
    (ErrorKind.ASSERTION, "json_size"): _("The JSON response is too large to check."),
    (ErrorKind.ASSERTION, "json_path"): _("The response has no value at the JSON path."),
    (ErrorKind.ASSERTION, "json_value"): _("The value at the JSON path is not the expected value."),
    (ErrorKind.ASSERTION, "header_name"): _("The response doesn’t have the expected header."),
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
