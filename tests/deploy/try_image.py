"""Run the steps of deploy/Dockerfile on fresh Debian systems, and the container's command as compose.yaml confines it.

    python -m tests.deploy.try_image

No container engine is needed, but root, debootstrap and minutes. The base image is Debian's own Python, and the network
of the running container is its own.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from tests.deploy.roots import CLEAN, ROOT, Root, copy_checkout, fresh_root

SUITE = "trixie"
# The size of python:3.13-slim-trixie, which Debian's Python stands in for, and the most that the whole may have.
BASE_MB, MOST_MB = 125, 350
STORE = "from botocore.session import Session; Session().create_client('s3', 'eu-west-1')"
# The container: a read-only system with a volume and a /tmp in memory, for a user without privileges.
CONTAINER = """
set -e
ip link set lo up
mount --bind "$FOLDER/data" "$FOLDER/data"
mount -t tmpfs -o mode=1777 tmpfs "$FOLDER/tmp"
mount -o remount,bind,ro "$FOLDER"
run() { chroot "$FOLDER" setpriv --reuid "$OWNER" --regid "$OWNER" --clear-groups --no-new-privs --bounding-set=-all \\
  --inh-caps=-all env --ignore-environment $SETTINGS "$@"; }
"""
RUN = """
run $COMMAND >"$LOG" 2>&1 & container=$!
for _ in $(seq 300); do
  if run $PROBE 2>/dev/null; then healthy=yes; break; fi
  kill -0 $container; sleep 0.2
done
[ -n "${healthy:-}" ]
run vigie doctor --json || true
run python -c "$STORE"
kill -TERM "$(pgrep --parent $container)"
wait $container
"""


@dataclass
class Stage:
    root: Root
    environment: dict[str, str] = field(default_factory=lambda: dict(CLEAN))
    user: str = "0:0"
    command: list[str] = field(default_factory=list)
    probe: list[str] = field(default_factory=list)


def read_instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile with their arguments."""
    text = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(name, " ".join(rest.split())) for name, rest in pairs]


def is_in_context(name: str) -> bool:
    """Return whether .dockerignore lets the file into the build. Its last pattern that matches decides."""
    parents = [name, *map(str, Path(name).parents)]
    is_left_out = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.lstrip("!")
        if pattern and not line.startswith("#"):
            tail = pattern.removeprefix("**/")
            if any(fnmatch(path, pattern) or (tail != pattern and Path(path).name == tail) for path in parents):
                is_left_out = not line.startswith("!")
    return not is_left_out


def copy(words: list[str], stage: Stage, stages: dict[str, Stage]) -> None:
    *options, source, target = words
    place = stage.root.folder / target.lstrip("/")
    if options:
        origin = stages[options[0].removeprefix("--from=")].root.folder / source.lstrip("/")
        shutil.copytree(origin, place, symlinks=True)
    elif source == ".":
        context = stage.root.folder.parent / "context"
        copy_checkout(Root(context), "/")
        for path in [path for path in context.rglob("*") if path.is_file()]:
            if not is_in_context(str(path.relative_to(context))):
                path.unlink()
        shutil.copytree(context, place, dirs_exist_ok=True)
    else:
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / source, place)


def begin_stage(root: Root, is_last: bool) -> Stage:
    """Let Debian's Python stand in for the base image's."""
    packages = ["python3", "python3-venv", "python3-pip"][: 1 if is_last else 3]
    root.run("apt-get", "update", "-q")
    root.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)
    root.run("ln", "-s", "/usr/bin/python3", "/usr/local/bin/python")
    return Stage(root)


def build(stack: ExitStack) -> Stage:
    """Carry out the instructions, and return the last stage."""
    stages: dict[str, Stage] = {}
    instructions = read_instructions()
    count = sum(name == "FROM" for name, _ in instructions)
    for name, text in instructions:
        sys.stdout.write(f"{name} {text}\n")
        sys.stdout.flush()
        if name == "FROM":
            stage = begin_stage(stack.enter_context(fresh_root(SUITE)), len(stages) == count - 1)
            stages[text.partition(" AS ")[2] or "last"] = stage
        elif name == "ENV":
            stage.environment |= dict(word.split("=", 1) for word in shlex.split(text))
        elif name == "RUN":
            settings = [f"{key}={value}" for key, value in stage.environment.items()]
            stage.root.run("env", *settings, "sh", "-ec", text)
        elif name == "COPY":
            copy(text.split(), stage, stages)
        elif name == "USER":
            stage.user = text
        elif name == "CMD":
            stage.command = json.loads(text)
        elif name == "HEALTHCHECK":
            stage.probe = json.loads(text.partition(" CMD ")[2])
        elif name not in ("WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL"):
            raise ValueError(name)
    return stage


def size_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1_000_000


def main() -> None:
    with ExitStack() as stack:
        image = build(stack)
        folder = image.root.folder
        compilers = [
            name for name in ("cc", "gcc", "c++", "pip", "pip3") if shutil.which(name, path=f"{folder}/usr/bin")
        ]
        assert compilers == [], compilers
        size = size_mb(folder / "opt/vigie")
        sys.stdout.write(f"The portal adds {size:.0f} MB to a base of {BASE_MB} MB.\n")
        assert size + BASE_MB <= MOST_MB
        log = folder.parent / "log"
        variables = {
            "FOLDER": str(folder),
            "OWNER": image.user.partition(":")[0],
            "SETTINGS": " ".join(f"{key}={value}" for key, value in image.environment.items()),
            "LOG": str(log),
            "STORE": STORE,
        }
        script = CONTAINER + RUN.replace("$COMMAND", shlex.join(image.command)).replace(
            "$PROBE", shlex.join(image.probe)
        )
        done = subprocess.run(
            ["unshare", "--mount", "--net", "bash", "-c", script],
            env=CLEAN | variables,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        printed = log.read_text()
        assert done.returncode == 0, printed
        failed = [check for check in json.loads(done.stdout)["checks"] if check["status"] == "failed"]
        assert failed == [], failed
        password = (folder / "data/secrets/operator_password").read_text().strip()
        assert password not in printed, "the first password is in the log of the container"
        sys.stdout.write("The container is healthy, confined, and ends when it is asked to.\n")


if __name__ == "__main__":
    main()
