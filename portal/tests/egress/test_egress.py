"""Calls to addresses that users enter (SSRF): only where the guard allows, whatever redirects or DNS say."""

from __future__ import annotations

import ast
import inspect
import io
import sys
from collections.abc import Callable
from importlib.util import resolve_name
from types import ModuleType

import pytest
import requests

from portal.base.encryption import encrypt
from portal.egress import call, connection, lookup, session
from portal.models import NotificationChannel
from portal.notifications import selftest
from portal.notifications.channels import apprise_urls, base, send
from portal.notifications.channels.apprise_urls import PARAMETERS, SCHEMES, UnusableURL, create_plugin, load_services
from portal.notifications.channels.base import DeliveryError
from portal.tests.helpers import receiver
from portal.tests.helpers.hostile_servers import Authority, Names, Server, answer, says
from portal.tests.helpers.receiver import Receiver

PUBLIC, METADATA = "93.184.216.34", "169.254.169.254"
KINDS = ("webhook", "apprise")


def deliver(kind: str, address: str) -> str:
    """Send by a channel of this kind to `host:port/path`; return why not, or nothing."""
    secret = f"json://bob:K4NARI@{address}" if kind == "apprise" else "K4NARI of 16 or more"
    try:
        send(
            NotificationChannel(pk=1, name="C", kind=kind, secret=encrypt(secret)),
            selftest.build_test_message(f"http://{address}"),
        )
    except DeliveryError as error:
        return str(error)
    return ""


@pytest.fixture
def hook():
    with Receiver() as hook:
        yield hook


@pytest.fixture
def names(monkeypatch) -> Callable[..., Names]:
    def answer_with(*answers: list[str]) -> Names:
        found = Names(*answers)
        monkeypatch.setattr(lookup, "system_resolver", found)
        return found

    return answer_with


@pytest.fixture
def dialled(monkeypatch, hook):
    """Record the addresses connected to; the local receiver answers for all, so no packet leaves this machine."""
    found: list[str] = []
    connect = connection.connect_to

    def dial(address, port, seconds):
        found.append(address)
        return connect("127.0.0.1", hook.server_port, seconds)

    monkeypatch.setattr(connection, "connect_to", dial)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("allow_private", [True, False])
@pytest.mark.parametrize("address", [METADATA, f"::ffff:{METADATA}", "fe80::1", "fd00:ec2::254", "0.0.0.0"])
def test_name_of_a_forbidden_address_is_never_connected_to(settings, names, dialled, kind, allow_private, address):
    settings.PROBE_ALLOW_PRIVATE = allow_private
    names([address])
    assert "PROBE_ALLOW_PRIVATE" in deliver(kind, "name.example:80/")
    assert dialled == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", [METADATA, f"[::ffff:{METADATA}]", "[64:ff9b::a9fe:a9fe]", "2852039166", "0xa9fea9fe"])
def test_forbidden_address_in_the_url_is_never_connected_to(names, dialled, kind, host):
    names([METADATA])  # what the resolver returns for an address in another notation
    assert deliver(kind, f"{host}:80/")
    assert dialled == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("allow_private", "count"), [(True, 1), (False, 0)])
def test_private_address_is_connected_to_where_the_setting_allows_it(settings, hook, kind, allow_private, count):
    settings.PROBE_ALLOW_PRIVATE = allow_private
    assert bool(deliver(kind, f"127.0.0.1:{hook.server_port}/")) is not allow_private
    assert len(hook.requests) == count


@pytest.mark.parametrize("kind", KINDS)
def test_connection_goes_to_the_address_that_was_checked(names, dialled, hook, kind):
    asked = names([PUBLIC], [METADATA])
    assert deliver(kind, "name.example:8080/") == ""
    assert (dialled, asked.asked) == ([PUBLIC], ["name.example"])
    assert hook.requests[0][1]["Host"] == "name.example:8080"
    assert "PROBE_ALLOW_PRIVATE" in deliver(kind, "name.example:8080/")
    assert dialled == [PUBLIC]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(names, dialled, hook, kind, status):
    asked = names([PUBLIC])
    hook.usual = lambda handler, body: handler.answer(status, None, Location=f"http://{METADATA}/latest/meta-data/")
    assert deliver(kind, "name.example/")
    assert (dialled, asked.asked) == ([PUBLIC], ["name.example"])


@pytest.mark.parametrize("kind", KINDS)
def test_proxy_and_netrc_of_the_environment_are_not_used(monkeypatch, tmp_path, hook, kind):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login eve password K4NARI\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NO_PROXY", "")
        assert deliver(kind, f"127.0.0.1:{hook.server_port}/") == ""
        session.GuardedSession().post(hook.url)
        assert proxy.requests == []
    assert all("ZXZlO" not in headers.get("Authorization", "") for _path, headers, _body in hook.requests)  # eve:…
    assert len(hook.requests) == 2


@pytest.mark.parametrize(("name", "accepted"), [("name.example", True), ("other.example", False)])
def test_certificate_must_match_the_name_not_the_address(monkeypatch, tmp_path, names, name, accepted):
    authority = Authority(tmp_path)
    monkeypatch.setattr(call, "shared_context", lambda: authority.trusting)
    names(["127.0.0.1"])
    with Server(says(answer(b"{}")), context=authority.server(name)) as server:
        post = session.GuardedSession().post
        if accepted:
            assert post(f"https://name.example:{server.port}/", verify=False).json() == {}
        else:
            with pytest.raises(requests.exceptions.SSLError):
                post(f"https://name.example:{server.port}/", verify=False)


@pytest.mark.parametrize(
    ("failing", "sent"), [(receiver.hang, False), (receiver.drip, False), (receiver.reset, False), (receiver.drip_the_body, True), (receiver.flood, True)]
)  # fmt: skip
def test_response_is_read_within_a_deadline_and_a_size_limit(monkeypatch, hook, failing, sent):
    monkeypatch.setattr(session, "SECONDS", 0.2)
    monkeypatch.setattr(base, "SEND_SECONDS", 60.0)
    hook.usual = failing
    assert (deliver("apprise", f"127.0.0.1:{hook.server_port}/") == "") is sent


def test_head_of_a_response_beyond_its_limit_is_not_read():
    lines = io.BytesIO(b"X: y\r\n" * (connection.HEAD_LENGTH // 6 + 1) + b"\r\n")
    with pytest.raises(connection.HeadTooLong):
        connection.read_headers(lines)


def test_calls_of_one_delivery_share_a_deadline(monkeypatch, hook):
    monkeypatch.setattr(session, "SECONDS", 0.2)
    hook.usual = receiver.hang
    channel = NotificationChannel(
        pk=1, name="C", kind="apprise", secret=encrypt(f"ntfy://127.0.0.1:{hook.server_port}/one/two/three")
    )
    with pytest.raises(DeliveryError):
        send(channel, selftest.build_test_message(""))
    assert len(hook.requests) <= 1


def test_session_response_behaves_like_a_requests_response(hook):
    hook.usual = lambda handler, body: handler.answer(201, {"é": 1}, X_A="1")
    found = session.GuardedSession().post(f"{hook.url}/p?q=é", json={"a": 1}, auth=("u", "p"), timeout=1)
    assert (found.status_code, found.ok, found.json(), found.headers["x-a"]) == (201, True, {"é": 1}, "1")
    ((path, headers, body),) = hook.requests
    assert (path, body, headers["Authorization"]) == ("/p?q=%C3%A9", b'{"a": 1}', "Basic dTpw")
    with pytest.raises(requests.RequestException):
        session.GuardedSession().post("http://name example/")


def test_session_may_call_a_private_host_named_by_the_environment(settings, hook):
    settings.PROBE_ALLOW_PRIVATE = False
    with pytest.raises(call.AddressRefused):
        session.GuardedSession().get(hook.url)
    assert session.GuardedSession(allow_private=True).post(hook.url).ok
    with pytest.raises(call.AddressRefused):
        session.GuardedSession(allow_private=True).get(f"http://{METADATA}/")


# --- Apprise URLs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "discord://1234567890/TOKEN?template=http://127.0.0.1:1/K4NARI",
        "discord://1234567890/TOKEN?TEMPLATE=/etc/hostname",
        "https://discord.com/api/webhooks/1234567890/TOKEN?template=/etc/hostname",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template=/etc/hostname",
        "tgram://123456789:abcdefg_hijklmnop/-1/?template=/etc/hostname",
        "workflows://host/workflow/signature/?template=/etc/hostname",
        "fcm://project@apikey/device?keyfile=/etc/hostname",
        "vapid://user@example.org/?keyfile=/etc/hostname&subfile=/etc/hostname",
        "mailto://user:K4NARI@example.org?pgppub=/etc/hostname&smtp=127.0.0.1",
        "json://u:K4NARI@127.0.0.1:1/y?method=DELETE",
        "json://u:K4NARI@127.0.0.1:1/y?+X-Evil=1",
        "json://u:K4NARI@127.0.0.1:1/y?-x=1",
        "json://u:K4NARI@127.0.0.1:1/y?:x=1",
        "apprise://127.0.0.1:1/token/?method=GET",
        "ntfy://topic/?attach=/etc/hostname",
        "form://127.0.0.1:1/?attach-as=x",
        "synology://127.0.0.1:1/token?file_url=http://127.0.0.1:1/",
        "gotifys://127.0.0.1:1/token?verify=no",
        "gotify://127.0.0.1:1/token?redirect=yes",
        "gotify://127.0.0.1:1/token?K4NARI",
        *("syslog://", "rsyslog://127.0.0.1", "dbus://", "gnome://", "glib://", "macosx://", "windows://", "blink1://"),
        *("irc://127.0.0.1/x", "mqtt://127.0.0.1/x", "amqp://127.0.0.1/x", "growl://127.0.0.1", "xmpp://u:p@127.0.0.1"),
        *("file:///etc/hostname", "http://127.0.0.1:1/", "nonsense://K4NARI", "K4NARI"),
    ],
)
def test_apprise_url_with_a_file_custom_request_or_other_way_out_is_refused(url, dialled):
    with pytest.raises(UnusableURL) as refused:
        create_plugin(url)
    assert "K4NARI" not in str(refused.value)
    with pytest.raises(DeliveryError) as caught:
        send(NotificationChannel(pk=1, name="C", kind="apprise", secret=encrypt(url)), selftest.build_test_message(""))
    assert (caught.value.permanent, caught.value.only_this) == (True, False)
    assert dialled == []


@pytest.mark.parametrize(
    "url",
    [
        "discord://1234567890/TOKEN?avatar=no&footer=yes&thread=1&retry=3&cto=4",
        "https://discord.com/api/webhooks/1234567890/TOKEN",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "https://prod-01.westeurope.logic.azure.com:443/workflows/aaaabbbbccccdddd/triggers/manual/paths/invoke"
        "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=abcdefghijklmnopqrstuvwxyz0123456789abcdefg",
        *("ntfys://topic?priority=high", "gotify://127.0.0.1/abcdefghijklmno", "json://u:p@localhost/x"),
        *(
            "pover://" + "u" * 30 + "@" + "a" * 30,
            "mmosts://127.0.0.1/" + "a" * 26,
            "signal://127.0.0.1/+33612345677/+33612345678",
        ),
    ],
)
def test_apprise_url_of_a_common_service_is_accepted(url):
    assert create_plugin(url) is not None


# Prefixes of modules that the allowed services may import. Anything else could bypass the guard, or
# open files. The two names of apprise.utils.http make no calls; others there create their own session.
HARMLESS_NAMES = """
    __future__ base64 collections contextlib contextvars copy cryptography datetime email.utils gzip hashlib hmac html
    io itertools json logging math os re secrets string struct threading time typing urllib.parse uuid
    xml.sax.saxutils
    apprise.apprise_attachment apprise.attachment.base apprise.attachment.memory apprise.common apprise.conversion
    apprise.exception apprise.locale apprise.plugins.base apprise.url apprise.utils.base64 apprise.utils.parse
    apprise.utils.sanitize apprise.utils.templates apprise.utils.xml
    apprise.utils.http.is_secure_http_url apprise.utils.http.read_bounded_response
"""
HARMLESS = frozenset(HARMLESS_NAMES.split())


def is_harmless(name: str, service: str) -> bool:
    parts = name.split(".")
    beginnings = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return name == "requests" or service in beginnings or not beginnings.isdisjoint(HARMLESS)


def modules_of(service: str) -> list[ModuleType]:
    """Return the module of a service, with those inside it if it is a package."""
    return [module for name, module in sys.modules.items() if name == service or name.startswith(f"{service}.")]


def imported_names(node: ast.AST, package: str | None) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        origin = resolve_name("." * node.level + (node.module or ""), package)
        return [f"{origin}.{alias.name}" for alias in node.names]
    return []


def test_allowed_services_import_nothing_that_reaches_the_network_but_requests():
    found = set()
    for service in {".".join(load_services()[scheme].__module__.split(".")[:3]) for scheme in SCHEMES}:
        for module in modules_of(service):
            for node in ast.walk(ast.parse(inspect.getsource(module))):
                names = imported_names(node, module.__package__)
                found |= {f"{service}: {name}" for name in names if not is_harmless(name, service)}
                if "requests" in names:  # GUARDED_REQUESTS replaces only the module's global of this name
                    assert (ast.unparse(node), node.col_offset) == ("import requests", 0), service
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "requests":
                    assert hasattr(apprise_urls.GUARDED_REQUESTS, node.attr), (service, node.attr)
    assert found == set()


def test_sending_apprise_modules_use_the_guarded_requests():
    load_services()
    unguarded = [
        name
        for name, module in sys.modules.items()
        if name.startswith("apprise.") and vars(module).get("requests") is requests
    ]
    assert unguarded == []


def test_allowed_parameters_are_known_to_apprise():
    known = {name for scheme in SCHEMES for name in load_services()[scheme].template_args}
    assert PARAMETERS - known == {"sp", "sv", "threadkey"}  # parameters of the URLs that Microsoft and Google issue
