"""The Makefile: its choice of a Python, and its list of targets."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAKE = shutil.which("make")
WORKS, STUB, TOO_OLD = f'exec {sys.executable} "$@"', "exit 127", "exit 1"


def make(tmp_path, pythons, *arguments):
    """Run make without side effects, with nothing on the PATH but these commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in pythons.items():
        command = folder / name
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    target = tmp_path / "venv"
    return subprocess.run(
        [MAKE, "-f", ROOT / "Makefile", f"VENV={target}", f"{target}/bin/python", *arguments],
        cwd=tmp_path,
        env=environment | {"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ({"python3.11": WORKS, "python3.13": WORKS}, "python3.13"),
        ({"python3.13": STUB, "python3.12": WORKS, "python3": WORKS}, "python3.12"),
        ({"python3": WORKS}, "python3"),
    ],
)
def test_newest_python_that_runs_is_chosen(tmp_path, pythons, chosen):
    assert f"{chosen} -m venv" in make(tmp_path, pythons, "-n").stdout


@pytest.mark.parametrize("pythons", [{}, {"python3.13": STUB, "python3": TOO_OLD}])
def test_without_a_supported_python_make_says_what_it_needs(tmp_path, pythons):
    done = make(tmp_path, pythons)
    assert (done.returncode, "Python 3.11 to 3.14" in done.stdout) == (2, True)


def test_named_python_that_is_not_supported_is_refused(tmp_path):
    done = make(tmp_path, {"python3.11": WORKS, "mine": TOO_OLD}, "PYTHON=mine")
    assert (done.returncode, "Python 3.11 to 3.14" in done.stdout) == (2, True)


def test_make_alone_lists_every_target_with_a_sentence():
    shown = subprocess.run(
        [MAKE, "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, check=True
    ).stdout
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert sorted(re.findall(r"^make (\w+) +\S.*", shown, re.MULTILINE)) == sorted(targets)
