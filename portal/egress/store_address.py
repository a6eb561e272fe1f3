"""The address of a store that speaks S3: `s3://KEY:SECRET@HOST/BUCKET/PREFIX?region=…&tls=off`, percent-encoded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from django.core.exceptions import ImproperlyConfigured

from portal.base.env import Environment

URL = re.compile(
    r"s3://(?P<key>[^:/@?#\s]+):(?P<secret>[^:/@?#\s]+)@(?P<host>(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?)"
    r"/(?P<bucket>[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9])(?P<prefix>(?:/[^/?#\s]+)*)/?(?:\?(?P<query>[^#\s]*))?",
    re.ASCII,
)
REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
TLS = {"on": True, "off": False}
LONGEST_PREFIX = 400


@dataclass(frozen=True)
class StoreAddress:
    """The decoded parts. `host` may hold a port."""

    key: str
    secret: str = field(repr=False)
    host: str
    bucket: str
    prefix: str
    region: str = "us-east-1"
    tls: bool = True

    @property
    def place(self) -> str:
        """The part that names where objects are, without the key: `HOST/BUCKET/PREFIX`."""
        return "/".join(filter(None, (self.host, self.bucket, self.prefix)))


def parse_store_url(text: str) -> StoreAddress:
    """Raises ValueError, whose message holds nothing of the text."""
    found = URL.fullmatch(text)
    query = dict(parse_qsl(found["query"] or "", keep_blank_values=True)) if found else {}
    region, tls = query.pop("region", "us-east-1"), TLS.get(query.pop("tls", "on"))
    if found is None or query or tls is None or not REGION.fullmatch(region):
        raise ValueError("not an address of the form s3://KEY:SECRET@HOST/BUCKET/PREFIX")
    prefix = unquote(found["prefix"]).strip("/")
    port = found["host"].rpartition("]")[2].partition(":")[2]
    is_relative = {".", ".."} & set(prefix.split("/")) or not prefix.isprintable()
    if is_relative or len(prefix) > LONGEST_PREFIX or not 0 < int(port or 443) < 65_536:
        raise ValueError("the prefix or the port can’t be used")
    return StoreAddress(
        unquote(found["key"]), unquote(found["secret"]), found["host"].lower(), found["bucket"], prefix, region, tls
    )


def read_store(env: Environment, name: str) -> StoreAddress | None:
    """Read a setting, which may be empty. Raises ImproperlyConfigured, which shows nothing of the value."""
    text = env.text(name)
    try:
        return parse_store_url(text) if text else None
    except ValueError:
        example = "s3://KEY:SECRET@s3.example.org/bucket/prefix?region=eu-west-1"
        raise ImproperlyConfigured(f"{name} must be an address such as {example}, percent-encoded.") from None
