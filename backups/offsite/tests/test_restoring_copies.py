"""The commands of `docs/restoring.md` that get a file from the store of off-site copies, with the programs themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal.egress.s3 import Store
from portal.egress.store_address import parse_store_url
from portal.tests.helpers.programs import require
from portal.tests.helpers.stores import measured

pytestmark = pytest.mark.slow
GUIDE = (Path(__file__).parents[3] / "docs" / "restoring.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("\n## Get the file from the store\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)
CONTENT = b"a dump"


@pytest.fixture
def port(s3_port: int) -> Iterator[int]:
    """Put the copy of the guide into its store."""
    store = Store(parse_store_url(f"s3://KEY:SECRET@127.0.0.1:{s3_port}/backups/vigie?tls=off"))
    store.call("create_bucket")
    key = "Exemple SARL/Paris/accounts/versions/20261130T0200Z_accounts.sql.gz"
    with measured(CONTENT) as (source, parts):
        store.put(key, source, parts)
    yield s3_port
    store.delete(key)
    store.call("delete_bucket")


@pytest.mark.parametrize(("program", "package"), [("aws", "awscli"), ("rclone", "rclone")])
def test_copy_is_fetched_from_the_store(port: int, tmp_path: Path, program: str, package: str) -> None:
    require(shutil.which(program), program, package)
    blocks = [block for block in BLOCKS if f"{program} " in block]
    assert blocks
    account = {"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "SECRET", "AWS_DEFAULT_REGION": "us-east-1"}
    account["HOME"] = str(tmp_path)
    commands = "".join(blocks).replace("https://s3.example.org", f"http://127.0.0.1:{port}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | account,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "accounts.sql.gz").read_bytes() == CONTENT
