"""The portal as an installed package: the content of its wheel, and running it outside a checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from django.conf import settings

from portal import __version__
from tests.smoke import copy_sources

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
PACKAGES = {"agents", "backups", "beta", "monitoring", "portal", "usage"}


def run(*arguments, **options):
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Unpack the wheel as site-packages would contain it."""
    folder = tmp_path_factory.mktemp("package")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    run("-m", "pip", "wheel", *options, "--wheel-dir", folder, copy_sources(folder / "source"))
    [wheel] = folder.glob("vigie-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_wheel_holds_every_module_template_and_static_file_without_tests(installed):
    parts = {name.partition("/")[0] for name in files_below(installed)}
    assert {name for name in parts if not name.endswith(".dist-info")} == PACKAGES | {"manage.py", "vigie_client"}
    for package in (*PACKAGES, "client/src/vigie_client"):
        expected = {
            name
            for name in files_below(ROOT / package)
            if not {"tests", "__pycache__"} & set(name.split("/")) and not name.endswith(".pyc")
        }
        assert files_below(installed / Path(package).name) == expected


def test_wheel_requires_what_the_portal_runs_on_and_has_the_command(installed):
    [metadata] = installed.glob("*.dist-info/METADATA")
    required = [line for line in metadata.read_text().splitlines() if line.startswith("Requires-Dist: ")]
    entries = [line for line in (ROOT / "requirements.in").read_text().splitlines() if not line.startswith("#")]
    assert len(required) == len(entries)
    assert "Requires-Python: >=3.11" in metadata.read_text()
    assert f"\nVersion: {__version__}\n" in metadata.read_text()
    [scripts] = installed.glob("*.dist-info/entry_points.txt")
    assert "vigie = manage:main" in scripts.read_text()


def test_installed_portal_is_prepared_outside_a_checkout(installed, tmp_path):
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(installed)}
    code = "import sys; from manage import main; sys.argv[0] = 'vigie'; main()"
    run("-c", code, "check", cwd=tmp_path, env=environment)
    assert list(tmp_path.iterdir()) == []
    assert "First operator" in run("-c", code, "prepare", cwd=tmp_path, env=environment)
    data = tmp_path / ".local" / "share" / "vigie"
    assert {"db.sqlite3", "secrets", "static"} <= {path.name for path in data.iterdir()}
    apps = "from django.apps import apps; import django; django.setup(); from portal.access.roles import own_apps"
    variables = environment | {"DJANGO_SETTINGS_MODULE": "portal.settings"}
    shown = run("-c", f"{apps}; print(sorted(own_apps()))", cwd=tmp_path, env=variables)
    assert shown.strip() == str(sorted(PACKAGES))


def test_every_list_of_apps_is_complete():
    assert {path.parent.name for path in ROOT.glob("*/apps.py")} == PACKAGES
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.removesuffix("*") for name in listed} >= PACKAGES
    assert settings.OWN_APPS == PACKAGES


@pytest.mark.parametrize("word", ["version", "--version"])
def test_command_line_prints_only_its_version_whatever_the_settings(word):
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": "unknown:"}
    assert run("manage.py", word, cwd=ROOT, env=environment) == f"{__version__}\n"
