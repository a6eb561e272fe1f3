"""Exports, imports and folders of the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vigie_client

CLIENT = Path(__file__).resolve().parents[1]
PACKAGE = CLIENT / "src" / "vigie_client"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Each folder may import those before it.
FOLDERS = ("disk", "http", "machine", "spool", "report", "deposits", "cli")
ON_TOP = {"contract", "version"}


def name_of(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_every_listed_name_is_exported() -> None:
    assert [name for name in vigie_client.__all__ if not hasattr(vigie_client, name)] == []


def test_listed_names_are_complete_before_their_modules_are_loaded() -> None:
    asked = "import vigie_client as c; print(set(c.__all__) <= set(dir(c)), 'vigie_client.http' in sys.modules)"
    assert run_python(asked) == "True False"


def test_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(vigie_client, "unknown")


@pytest.mark.parametrize("module", ["contract", "report.pages"])
def test_what_makes_no_calls_loads_no_http_library(module: str) -> None:
    assert run_python(f"import vigie_client.{module}; print('requests' in sys.modules)") == "False"


def run_python(script: str) -> str:
    command = [sys.executable, "-c", f"import sys; {script}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_every_exported_name_is_documented() -> None:
    readme = (CLIENT / "README.md").read_text(encoding="utf-8")
    assert [name for name in vigie_client.__all__ if name not in readme] == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_parses_as_python_3_9(module: Path) -> None:
    ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 9))


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names")
@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_module_imports_only_the_standard_library_and_requests(module: Path) -> None:
    imported = re.findall(r"^(?:from|import) ([a-z_]+)", module.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(imported) <= sys.stdlib_module_names | {"requests", "vigie_client"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_only_folders_below_them(folder: str) -> None:
    allowed = {*FOLDERS[: FOLDERS.index(folder) + 1], *ON_TOP}
    sources = [path.read_text(encoding="utf-8") for path in (PACKAGE / folder).glob("*.py")]
    imported = {
        name for source in sources for name in re.findall(r"^from vigie_client\.([a-z_]+)", source, re.MULTILINE)
    }
    assert imported <= allowed


def test_every_folder_has_its_place_in_the_order() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(FOLDERS)
