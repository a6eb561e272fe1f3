"""Files below `/client/`: the wheel of the client package, the same bytes everywhere, and the scripts."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from portal.connect import wheel
from portal.connect.wheel import build_wheel, wheel_name

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "client"
pytestmark = pytest.mark.one_database(
    "files, and clients on each Python, whose calls other tests make on both",
    despite=("live_server", "transaction=True"),
)


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def metadata_of(content):
    """Return the fields of a wheel's METADATA that programs read, and the names of its files."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        fields = HeaderParser().parsestr(archive.read(name).decode())
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    known = ("Name", "Version", "Summary", "License-Expression", "Requires-Python", "Requires-Dist", "Provides-Extra")
    described = {key: sorted(re.sub(r"\s", "", value) for value in fields.get_all(key, [])) for key in known}
    return described | {"Classifier": sorted(fields.get_all("Classifier", []))}, names


def copy_client(folder):
    built = shutil.ignore_patterns("tests", "*.egg-info", "__pycache__", "build", "dist")
    return shutil.copytree(CLIENT, folder, ignore=built)


@pytest.mark.slow
def test_wheel_is_the_one_that_setuptools_builds_of_the_project(tmp_path):
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", tmp_path, copy_client(tmp_path / "client"))
    (built,) = tmp_path.glob("*.whl")
    assert built.name == wheel_name()
    assert metadata_of(build_wheel()) == metadata_of(built.read_bytes())


def test_wheel_has_the_same_bytes_from_another_folder_by_a_user_with_another_umask(tmp_path):
    copy = copy_client(tmp_path / "client") / "src"
    (copy / "vigie_client" / "__pycache__").mkdir()
    (copy / "vigie_client" / "__pycache__" / "cli.cpython-311.pyc.140012").touch()  # while Python writes it
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
        path.chmod(0o700)
    environment = os.environ | {"PYTHONPATH": f"{copy}:{ROOT}", "PYTHONHASHSEED": "7"}
    run(sys.executable, "-m", "portal.connect.wheel", tmp_path / "dist", cwd=ROOT, env=environment, umask=0o077)
    assert (tmp_path / "dist" / wheel_name()).read_bytes() == build_wheel()


@pytest.mark.slow
def test_wheel_is_installed_by_pip_with_its_command(tmp_path):
    (tmp_path / wheel_name()).write_bytes(build_wheel())
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--target", tmp_path / "site"]
    run(sys.executable, "-m", "pip", "install", *options, tmp_path / wheel_name())
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    shown = run(tmp_path / "site" / "bin" / "vigie-client", "--version", env=environment)
    assert shown == f"vigie-client {wheel.client_version()}\n"


def other_pythons():
    """Return each Python from 3.9 to 3.14 on this machine, with the folder of the requests package in its pip."""
    for minor in range(9, 15):
        found = [shutil.which(f"python3.{minor}"), *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")]
        lines = "import sys, pip._vendor.requests; print(sys.executable, *pip._vendor.__path__)"
        for name in filter(None, found):
            done = subprocess.run([name, "-c", lines], capture_output=True, text=True, check=False)
            if done.returncode == 0:  # by its own path: a shim may run another program elsewhere
                python, packages = done.stdout.split()
                yield pytest.param(python, packages, id=f"3.{minor}")
                break


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("python", "packages"), list(other_pythons()))
def test_client_of_the_wheel_connects_a_machine_on_each_python_here(
    live_server, tmp_path, python, packages, enroll_token
):
    """Python imports from a wheel as it is, so nothing needs to be installed or downloaded."""
    (tmp_path / wheel_name()).write_bytes(build_wheel())
    paths = f"{tmp_path / wheel_name()}:{packages}"
    environment = {
        "PYTHONPATH": paths,
        "HOME": str(tmp_path),
        "VIGIE_URL": live_server.url,
        "VIGIE_TOKEN": enroll_token,
    }
    answers = [
        json.loads(run(python, "-m", "vigie_client", *command, cwd=tmp_path, env=environment))
        for command in (
            ["enroll"],
            ["heartbeat"],
            ["report", "--app-name", "gui", "--app-version", "1.0", python],
            ["uninstall"],
        )
    ]
    assert [answers[0]["status"], answers[2]["delivered"], answers[3]["status"]] == ["enrolled", 1, "uninstalled"]
    lines = "import vigie_client, sys; print({'django', 'requests'} & set(sys.modules))"
    assert run(python, "-c", lines, env=environment) == "set()\n"


@pytest.mark.django_db
class TestServed:
    def test_wheel_is_served_to_everybody_by_the_name_that_pip_expects(self, client):
        response = client.get(f"/client/{wheel_name()}")
        assert (response.status_code, response.content) == (200, build_wheel())
        assert re.fullmatch(r"vigie_client-\d+\.\d+-py3-none-any\.whl", wheel_name())

    @pytest.mark.parametrize("name", ["vigie.sh", "vigie.ps1", "vigie.iss"])
    def test_script_is_served_as_text_with_the_address_of_the_request(self, client, settings, name):
        settings.ALLOWED_HOSTS = ["vigie.lan"]
        response = client.get(f"/client/{name}", headers={"host": "vigie.lan"})
        assert (response.status_code, response["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert "'http://vigie.lan" in response.content.decode()

    @pytest.mark.parametrize("name", ["vigie.exe", "vigie_client-0.9-py3-none-any.whl", ".."])
    def test_unknown_file_is_404(self, client, name):
        assert client.get(f"/client/{name}").status_code == 404

    def test_foreign_host_is_refused(self, client, settings):
        settings.ALLOWED_HOSTS = ["vigie.lan"]
        assert client.get("/client/vigie.sh", headers={"host": "evil.example"}).status_code == 400
