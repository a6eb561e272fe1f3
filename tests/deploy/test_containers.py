"""The Dockerfile and compose.yaml, by programs that read them as the engines do. `tests.deploy.try_image` runs the steps."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from portal.settings import env
from tests.deploy.proxies import DEPLOY

ROOT = DEPLOY.parent
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_last_stage_runs_as_a_plain_user_on_the_base_of_the_first() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    assert bases[0] == bases[1]
    assert re.findall(r"^USER (\d+:\d+)$", text, re.MULTILINE) == ["10001:10001"]


def test_context_of_the_image_has_all_that_the_package_is_built_from() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    packages = re.search(r"^include = \[(.+)\]$", project, re.MULTILINE)
    assert packages is not None
    names = {name.rstrip("*") for name in re.findall(r'"([^"]+)"', packages[1])}
    assert names - allowed == {"vigie_client"}  # it is below client/
    assert {"client", "manage.py", "pyproject.toml", "requirements.txt"} <= allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_compose_file_conforms_to_the_specification() -> None:
    compose_spec.PyCompose.from_json(json.dumps(COMPOSE)).validate()


@pytest.mark.parametrize("name", SERVICES)
def test_service_has_a_read_only_root_and_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("cap_add", []) == (["NET_BIND_SERVICE"] if name == "proxy" else [])
    assert not service.get("privileged")


def test_only_the_proxy_publishes_ports_and_only_it_is_trusted() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["proxy"]
    address = SERVICES["proxy"]["networks"]["default"]["ipv4_address"]
    assert SERVICES["portal"]["environment"]["TRUSTED_PROXIES"] == address


def test_servers_of_postgresql_are_reached_by_sockets_alone() -> None:
    for name in ("database", "drills"):
        assert SERVICES[name]["network_mode"] == "none"
        assert "alpine" not in SERVICES[name]["image"]


def test_settings_and_variables_of_the_proxy_exist() -> None:
    settings = SERVICES["portal"]["environment"]
    assert set(settings) <= env.names
    written = re.findall(r"\{\$(\w+)\}", (DEPLOY / "Caddyfile").read_text(encoding="utf-8"))
    assert set(written) == set(SERVICES["proxy"]["environment"])


def test_documented_paths_of_a_backup_are_mounted_in_the_portal() -> None:
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8").partition("\n### Back up and restore containers")[2]
    commands = re.findall(r"```sh\n(.*?)```", text.partition("\n## ")[0], re.DOTALL)
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")
    paths = set(re.findall(r"[ =](/[\w./-]+)", "".join([*commands, example])))
    mounts = {Path(volume.split(":")[1]) for volume in SERVICES["portal"]["volumes"]}
    assert {"/srv/vigie/backups", "/run/secrets/backup.key"} <= paths
    assert [path for path in paths if not mounts & {Path(path), *Path(path).parents}] == []


def test_volumes_are_declared_and_used() -> None:
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {name for name in mounted if not name.startswith((".", "/"))} == set(COMPOSE["volumes"])
