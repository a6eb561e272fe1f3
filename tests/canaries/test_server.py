"""gunicorn's own log lines contain neither what was sent nor the text of an exception."""

import socket
from urllib.parse import urlsplit

import pytest
import requests
from django.conf import settings as portal_settings
from django.contrib.auth.models import User

from portal.access.tokens.issuing import issue_token
from portal.tests.helpers.database import own_address
from portal.tests.helpers.waiting import PATIENCE, wait_for
from tests.canaries import CANARY, everything_kept, found
from usage.models import FeatureUsage, UserError
from usage.tests.test_tracking_process import Web

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.one_database("the log of gunicorn", despite=("transaction=True", "connection.")),
]
# The portal, which fails where it should not: before its answer, and in the middle of it.
FAILING = f"""
import portal.wsgi
from usage.api import export

def pieces(*args):
    yield "one"
    raise RuntimeError("{CANARY[:3]}" + "{CANARY[3:]}")  # in two: the line itself stands in the log

def application(environ, start_response):
    if environ["PATH_INFO"].startswith("/{CANARY}"):
        raise KeyError(environ["QUERY_STRING"])
    return portal.wsgi.application(environ, start_response)

export.FORMATS["csv"] = (pieces, "text/csv")
"""
MALFORMED = (
    f"GET / HTTP/1.1\r\nHost: x\r\n{CANARY} TWO: x\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nX-File: \0{CANARY}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {CANARY}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {CANARY}\r\n\r\n",
    f"GET / HTTP/1.1\r\nHost: x\r\nExpect: {CANARY}\r\n\r\n",
    f"{CANARY}? / HTTP/1.1\r\nHost: x\r\n\r\n",
    f"GET /{CANARY} HTTP/{CANARY}\r\nHost: x\r\n\r\n",
    f"{CANARY}\r\n\r\n",
)
STARTS = {
    "as the portal starts it": Web.CONFIGURED,
    "by itself": ("--worker-class", "gthread", "--no-control-socket"),
    "by itself, saying all it can": ("--no-control-socket", "--log-level", "debug", "--access-logfile", "-"),
}


@pytest.fixture(params=list(STARTS.values()), ids=list(STARTS))
def web(request, tmp_path):
    """Run the failing portal under gunicorn; `log()` returns its output so far."""
    (tmp_path / "failing.py").write_text(FAILING)
    with open(tmp_path / "log", "wb") as log:
        options = ["--pythonpath", f"{tmp_path},{portal_settings.BASE_DIR}", "failing:application"]
        started = Web(*options, database_url=own_address(), config=request.param, output=log)
    started.log = lambda: (tmp_path / "log").read_text()
    yield started
    started.process.kill()
    started.process.wait()


def sent(web, text):
    """Return the status line of the response to a malformed request."""
    address = urlsplit(web.url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall(text.encode())
        return connection.makefile("rb").readline()


def test_failing_request_under_gunicorn_logs_no_canary(web):
    token = issue_token("staff", user=User.objects.create_superuser("alice"), label="reports")[1]
    assert requests.get(f"{web.url}/{CANARY}?{CANARY}={CANARY}", timeout=PATIENCE).status_code == 500
    headers = {"Authorization": f"Bearer {token}"}
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{web.url}/api/v1/usage/export?x={CANARY}", headers=headers, timeout=PATIENCE)
    assert {sent(web, text).split()[1][:1] for text in MALFORMED} <= {b"4", b"5"}
    wait_for("the failure is noted", UserError.objects.exists)
    web.end()
    said = web.log()
    assert said.count('"a request failed"') == 2 + len(MALFORMED)
    assert all(told in said for told in ("builtins.KeyError", "builtins.RuntimeError", "in application", "in pieces"))
    assert all(told in said for told in ("Starting gunicorn", "Listening at", "Booting worker", "Worker exiting"))
    assert not found(said.splitlines())
    assert not found(everything_kept())
    error = UserError.objects.get()
    assert (error.error_type, error.error_code, error.endpoint) == ("RuntimeError", 500, "/api/v1/usage/export")
    assert FeatureUsage.objects.get().success is False
