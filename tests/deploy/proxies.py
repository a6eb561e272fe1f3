"""nginx and Caddy in front of a real portal, configured by the files in deploy/, and a browser that trusts them."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import urlencode

from portal.tests.helpers.hostile_servers import Authority
from portal.tests.helpers.programs import require
from portal.tests.helpers.waiting import PATIENCE, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
DOMAIN = "vigie.example.org"
# The address of the client. The portal trusts 127.0.0.1, the proxy's, and no other.
CLIENT = "127.0.0.7"
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{ }}
http {{
    access_log off; proxy_temp_path {folder}/proxy; client_body_temp_path {folder}/body;
    fastcgi_temp_path {folder}/fastcgi; scgi_temp_path {folder}/scgi; uwsgi_temp_path {folder}/uwsgi;
    include {folder}/vigie.conf;
}}
"""
CADDY = """{{
    admin off
    http_port {http}
    https_port {https}
    default_bind 127.0.0.1
    local_certs
    skip_install_trust
    storage file_system {folder}
}}
"""


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in opened]


class TrustingConnection(http.client.HTTPSConnection):
    """A connection to the proxy on this machine, whatever the domain name resolves to."""

    def __init__(self, port: int, trusting: ssl.SSLContext) -> None:
        super().__init__(DOMAIN, timeout=PATIENCE)
        self.place, self.trusting = ("127.0.0.1", port), trusting

    def connect(self) -> None:
        plain = socket.create_connection(self.place, PATIENCE, source_address=(CLIENT, 0))
        self.sock = self.trusting.wrap_socket(plain, server_hostname=DOMAIN)


@dataclass
class Proxy:
    """A running proxy. `authority` is the file of the certificate that signs its own."""

    http_port: int
    https_port: int
    authority: Path

    def connect(self) -> TrustingConnection:
        return TrustingConnection(self.https_port, ssl.create_default_context(cafile=self.authority))

    def request(
        self, method: str, path: str, body: bytes | str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read()

    def is_open(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.request("GET", "/healthz")[0].status == 200)
        return False


def nginx_command(folder: Path, proxy: Proxy, portal: int) -> list[str]:
    Authority(folder).server(DOMAIN)
    pair = next(path for path in folder.glob("*.pem") if path != proxy.authority)
    text = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    changes = {
        "listen 80;": f"listen 127.0.0.1:{proxy.http_port};",
        "    listen [::]:80;\n": "",  # the machine of a test may lack IPv6
        "    listen [::]:443 ssl;\n": "",
        "listen 443 ssl;": f"listen 127.0.0.1:{proxy.https_port} ssl;",
        "/etc/letsencrypt/live/vigie.example.org/fullchain.pem": str(pair),
        "/etc/letsencrypt/live/vigie.example.org/privkey.pem": str(pair),
        "127.0.0.1:8000": f"127.0.0.1:{portal}",
    }
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / "vigie.conf").write_text(text, encoding="utf-8")
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder), encoding="utf-8")
    return ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]


def caddy_command(folder: Path, proxy: Proxy, portal: int) -> list[str]:
    text = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")
    text = text.replace("{$VIGIE_DOMAIN}", DOMAIN).replace("{$VIGIE_PORTAL}", f"127.0.0.1:{portal}")
    assert not re.search(r"\{\$\w", text)
    head = CADDY.format(folder=folder, http=proxy.http_port, https=proxy.https_port)
    (folder / "Caddyfile").write_text(head + text, encoding="utf-8")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


COMMANDS = {"nginx": nginx_command, "caddy": caddy_command}
AUTHORITIES = {"nginx": "ca.pem", "caddy": "pki/authorities/local/root.crt"}


@contextlib.contextmanager
def running_proxy(name: str, folder: Path, portal: int) -> Iterator[Proxy]:
    """Run the proxy of this name in front of the portal at this port."""
    require(shutil.which(name) or shutil.which(name, path="/usr/sbin"), name, name)
    first, second = free_ports(2)
    proxy = Proxy(first, second, folder / AUTHORITIES[name])
    command = COMMANDS[name](folder, proxy, portal)
    environment = {"PATH": "/usr/bin:/usr/sbin:/bin", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for("the proxy answers", lambda: process.poll() is not None or proxy.is_open())
        assert process.poll() is None, (folder / "log").read_text()
        yield proxy
    finally:
        process.terminate()
        process.wait()


@dataclass
class Browser:
    """A person's browser: it keeps cookies and sends forms with the token of their page."""

    proxy: Proxy
    cookies: SimpleCookie

    def open(self, path: str, form: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, str]:
        cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())
        headers = {"Cookie": cookies, "Referer": f"https://{DOMAIN}{path}"}
        body = None
        if form is not None:
            body = urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        response, content = self.proxy.request("GET" if form is None else "POST", path, body, headers)
        for line in response.headers.get_all("Set-Cookie") or []:
            self.cookies.load(line)
        return response, content.decode()
