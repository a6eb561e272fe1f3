"""The portal behind the proxies of deploy/: what a browser and a machine notice, and what the portal records."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
from django.conf import settings

from portal.tests.helpers.portal_process import Portal
from portal.tests.helpers.waiting import PATIENCE, wait_for
from tests.deploy.proxies import CLIENT, DOMAIN, Browser, Proxy, free_ports, running_proxy

pytestmark = pytest.mark.slow
SPOOFED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Real-Ip": "203.0.113.9"}
DUMP = os.urandom(3 * 1024 * 1024)  # nginx takes 1 MiB unless it is told otherwise


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """Run the web server of a portal with the settings that docs/operations.md gives for a proxy."""
    directory: Path = tmp_path_factory.mktemp("portal")
    [port] = free_ports(1)
    portal = Portal(directory, f"sqlite:///{directory}/db.sqlite3", port)
    portal.extra = {
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "PORTAL_URL": f"https://{DOMAIN}",
        "HTTPS": "on",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    assert portal.manage("prepare").returncode == 0
    command = [sys.executable, "-m", "gunicorn", "-c", "python:portal.supervisor.web", "-b", f"127.0.0.1:{port}"]
    with (directory / "log").open("wb") as log:
        web = subprocess.Popen(command, cwd=settings.BASE_DIR, env=portal.environment, stdout=log, stderr=log)
    try:
        yield portal
    finally:
        web.terminate()
        web.wait()


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running_proxy(request.param, tmp_path_factory.mktemp(request.param), portal.port) as running:
        yield running


@pytest.fixture(scope="module")
def enrol_token(portal: Portal) -> str:
    return portal.manage("issue_token", "--kind", "enroll", "--label", "setup").stdout.strip()


def enrol(proxy: Proxy, token: str, machine: str) -> str:
    body = json.dumps({"machine_id": machine})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"} | SPOOFED
    response, content = proxy.request("POST", "/api/v1/agents/enroll", body, headers)
    assert response.status == 201, content
    return str(json.loads(content)["api_token"])


def begin_deposit(connection: http.client.HTTPConnection, token: str) -> None:
    """Send the head of a deposit, and half of its body."""
    connection.putrequest("PUT", "/api/v1/backups/deposits/database/accounts.sql.gz")
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Length", str(len(DUMP)))
    connection.putheader("X-Content-SHA256", hashlib.sha256(DUMP).hexdigest())
    connection.endheaders(DUMP[: len(DUMP) // 2])


def test_http_is_redirected_to_https_with_path_and_query(proxy: Proxy) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", proxy.http_port, PATIENCE)) as connection:
        connection.request("GET", "/admin/?next=1", headers={"Host": DOMAIN})
        response = connection.getresponse()
    target = re.sub(r":\d+", "", response.headers["Location"])  # Caddy's port here is not 443
    assert (response.status, target) == (308, f"https://{DOMAIN}/admin/?next=1")


def test_operator_signs_in_through_the_proxy_with_cookies_of_this_host(proxy: Proxy, portal: Portal) -> None:
    browser = Browser(proxy, SimpleCookie())
    page = browser.open("/accounts/login/")[1]
    [token] = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page))
    password = (portal.directory / "secrets/operator_password").read_text().strip()
    form = {"csrfmiddlewaretoken": token, "login": "operator", "password": password}
    assert browser.open("/accounts/login/", form)[0].status == 302
    assert browser.cookies["__Host-sessionid"]["secure"]
    assert browser.open("/admin/")[0].status == 200


def test_pages_are_compressed_and_demand_https(proxy: Proxy) -> None:
    response, content = proxy.request("GET", "/accounts/login/", headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert b"password" in gzip.decompress(content)
    assert response.headers.get_all("Strict-Transport-Security") == ["max-age=31536000; includeSubDomains; preload"]


def test_portal_records_the_address_of_the_client_and_not_a_claimed_one(
    proxy: Proxy, portal: Portal, enrol_token: str
) -> None:
    machine = f"PC-{proxy.https_port}"
    enrol(proxy, enrol_token, machine)
    found = portal.sql(f"SELECT DISTINCT address FROM portal_auditevent WHERE subject = 'agent:{machine}'")
    assert found == [(CLIENT,)]


def test_deposit_beyond_default_limits_reaches_the_portal_while_it_is_sent(
    proxy: Proxy, portal: Portal, enrol_token: str
) -> None:
    machine = f"SRV-{proxy.https_port}"
    token = enrol(proxy, enrol_token, machine)
    folder = portal.directory / "deposits" / machine / "database"
    with contextlib.closing(proxy.connect()) as connection:
        begin_deposit(connection, token)
        wait_for("the first half arrives", lambda: any(path.stat().st_size > 0 for path in folder.glob("*")))
        assert not (folder / "accounts.sql.gz").exists()
        connection.send(DUMP[len(DUMP) // 2 :])
        assert connection.getresponse().status == 201
    assert (folder / "accounts.sql.gz").read_bytes() == DUMP


def test_refusal_of_a_large_body_reaches_the_client(proxy: Proxy) -> None:
    with contextlib.closing(proxy.connect()) as connection:
        begin_deposit(connection, "no token")
        with contextlib.suppress(OSError):  # it need not read what it refuses
            connection.send(DUMP[len(DUMP) // 2 :])
        response = connection.getresponse()
        assert (response.status, json.load(response)["code"]) == (401, "invalid_token")
