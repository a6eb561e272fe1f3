"""`scripts/release` in a small repository, without the checks that take long."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from portal.tests.helpers.programs import require

pytestmark = pytest.mark.one_database("releases do not depend on the database")
ROOT = Path(__file__).parent.parent
VERSION = "9.8.7"
PERSON = {"NAME": "Alice", "EMAIL": "alice@example.org"}
CHANGELOG = f"""# Changelog

## Unreleased

## {VERSION} - {datetime.now(UTC):%Y-%m-%d}

### Upgrading

- Nothing to do.

### Added

- A thing.

## 9.8.6 - 2026-01-01

The first version.
"""


class Tree:
    """A repository that is ready to be released."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        who = {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in PERSON.items()}
        self.environment = os.environ | who
        folder.mkdir()
        self.git("init", "--quiet")
        for name in ("scripts/release", ".gitignore", "README.md"):
            self.write(name, (ROOT / name).read_text())
        (folder / "scripts" / "release").chmod(0o755)
        self.write("portal/__init__.py", f'__version__ = "{VERSION}"\n')
        self.write("CHANGELOG.md", CHANGELOG)
        self.commit()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def git(self, *arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=Release")

    def release(self, *options: str, version: str = VERSION) -> subprocess.CompletedProcess[str]:
        quick = ["--checks", "true", "--client", "f() { touch $1/vigie_client-1.0-py3-none-any.whl; }; f"]
        command = [str(self.folder / "scripts" / "release"), version, *quick, *options]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "tree")


def test_script_has_no_fault_that_shellcheck_knows() -> None:
    require(shutil.which("shellcheck"), "shellcheck", "shellcheck")
    done = subprocess.run(["shellcheck", ROOT / "scripts/release"], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_release_is_built_and_tagged(tree: Tree) -> None:
    done = tree.release()
    assert done.returncode == 0, done.stderr
    assert tree.git("cat-file", "-t", f"v{VERSION}") == "tag\n"
    message = tree.git("tag", "--list", "--format=%(contents)")
    assert ("### Added\n\n- A thing." in message, "9.8.6" in message) == (True, False)
    built = tree.folder / "dist" / VERSION
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=built, check=True)
    sums = (built / "SHA256SUMS").read_text()
    assert {name for name in os.listdir(built) if name not in sums} == {"SHA256SUMS"}
    with tarfile.open(built / f"vigie-{VERSION}.tar.gz") as archive:
        assert {name.removeprefix(f"vigie-{VERSION}/") for name in archive.getnames()} > set(
            tree.git("ls-files").splitlines()
        )


def state_other_version(tree: Tree) -> None:
    tree.write("portal/__init__.py", '__version__ = "9.8.6"\n')
    tree.commit()


def leave_file(tree: Tree) -> None:
    tree.write("new.txt", "not committed")


def tag(tree: Tree) -> None:
    tree.git("tag", f"v{VERSION}", "HEAD")


def change_log(old: str, new: str, tree: Tree) -> None:
    path = tree.folder / "CHANGELOG.md"
    path.write_text(path.read_text().replace(old, new, 1))
    tree.commit()


MISTAKES = {
    "a file is not committed": (leave_file, "git status"),
    "the code states another version": (state_other_version, "states version 9.8.6"),
    "the tag exists": (tag, "the tag"),
    "the date is another": (lambda tree: change_log(f"{VERSION} - 2", f"{VERSION} - 1", tree), "has no section"),
    "no word on upgrading": (lambda tree: change_log("### Upgrading", "### Changed", tree), "how to upgrade"),
    "an entry is unreleased": (
        lambda tree: change_log("Unreleased\n", "Unreleased\n\n- More.\n", tree),
        "unreleased",
    ),
}


@pytest.mark.parametrize(("make", "reason"), MISTAKES.values(), ids=MISTAKES)
def test_release_with_a_mistake_is_refused_before_the_tests_run(make, reason, tree: Tree) -> None:
    make(tree)
    tags = tree.git("tag", "--list")
    done = tree.release("--checks", "touch tested")
    assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
    assert not (tree.folder / "tested").exists()
    assert tree.git("tag", "--list") == tags


@pytest.mark.parametrize("version", ["", "9.8", "v9.8.7", "9.8.7rc1"])
def test_version_that_is_no_release_is_refused(tree: Tree, version: str) -> None:
    done = tree.release(version=version)
    assert (done.returncode, "name a version" in done.stderr) == (1, True)


@pytest.mark.parametrize("options", [["--quick", "yes"], ["--checks"]])
def test_unknown_option_and_missing_value_are_refused(tree: Tree, options: list[str]) -> None:
    done = tree.release(*options)
    assert (done.returncode, options[0] in done.stderr) == (1, True)
    assert tree.git("tag", "--list") == ""


FAILURES = {
    "a test fails": ("--checks", "false"),
    "the tests leave a file": ("--checks", "touch left"),
    "the wheel cannot be built": ("--client", "false"),
    "there is no wheel": ("--client", "true"),
}


@pytest.mark.parametrize("options", FAILURES.values(), ids=FAILURES)
def test_release_that_fails_has_no_tag(tree: Tree, options: tuple[str, str]) -> None:
    assert tree.release(*options).returncode == 1
    assert tree.git("tag", "--list") == ""
