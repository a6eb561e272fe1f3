"""The wheel of the client package, built from the installed package: `make client` writes it, the portal serves it.

A wheel of pure Python is a ZIP file with the package and a few lines about it. Building it here needs no build tool and
no network where the portal runs, and gives the same bytes everywhere: names are sorted, times and modes are fixed, and
nothing is compressed, since versions of zlib differ.

    python -m portal.connect.wheel FOLDER
"""

import base64
import functools
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from vigie_client import contract

# The package of which the portal imports the contract alone.
PACKAGE = Path(contract.__file__).parent
# As in client/pyproject.toml, which an installed portal does not have; a test compares the two.
METADATA = """\
Metadata-Version: 2.4
Name: vigie-client
Version: {version}
Summary: Enrols a machine with a Vigie portal, keeps its heartbeat, deposits its backups, and reports usage without \
losing or leaking any
License-Expression: MIT
License-File: LICENSE
Classifier: Operating System :: OS Independent
Classifier: Programming Language :: Python :: 3
Classifier: Typing :: Typed
Requires-Python: >=3.9
Requires-Dist: requests>=2.28
Provides-Extra: pdf
Requires-Dist: pymupdf<2; extra == "pdf"
Provides-Extra: zstd
Requires-Dist: zstandard; extra == "zstd"
"""
TAGS = "Wheel-Version: 1.0\nGenerator: vigie\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
ENTRY_POINTS = "[console_scripts]\nvigie-client = vigie_client.cli:main\n"
# The oldest time that a ZIP file can hold.
TIME = (1980, 1, 1, 0, 0, 0)
MODE = 0o100644


@functools.cache
def client_version() -> str:
    text = (PACKAGE / "version.py").read_text(encoding="utf-8")
    version: str = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)[0]
    return version


def wheel_name() -> str:
    return f"vigie_client-{client_version()}-py3-none-any.whl"


@functools.cache
def build_wheel() -> bytes:
    """Return the wheel, which is built once in a process."""
    info = f"vigie_client-{client_version()}.dist-info"
    described = {
        f"{info}/METADATA": METADATA.format(version=client_version()).encode(),
        f"{info}/WHEEL": TAGS.encode(),
        f"{info}/entry_points.txt": ENTRY_POINTS.encode(),
        f"{info}/licenses/LICENSE": (PACKAGE / "LICENSE").read_bytes(),
    }
    files = dict(package_files()) | described
    record = "".join(f"{name},sha256={digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, TIME)
            member.external_attr, member.create_system = MODE << 16, 3
            archive.writestr(member, content)
    return written.getvalue()


def package_files() -> Iterator[tuple[str, bytes]]:
    for path in sorted(PACKAGE.rglob("*")):
        if "__pycache__" not in path.parts and path.is_file():
            yield path.relative_to(PACKAGE.parent).as_posix(), path.read_bytes()


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def write_wheel(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / wheel_name()
    path.write_bytes(build_wheel())
    return path


if __name__ == "__main__":
    sys.stdout.write(f"{write_wheel(Path(sys.argv[1]))}\n")
