"""Run dump commands, which succeed only if every part of a pipeline does."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator, Sequence
from typing import Any, Optional, Union

from vigie_client.deposits.errors import DumpFailed, error_text, sanitize_line

_LONGEST_LINE = 2048
_WINDOWS = os.name == "nt"
# cmd.exe expands nothing unquoted that bash would, and a Windows path is full of backslashes.
_OPERATORS = frozenset("|&<>" if _WINDOWS else "|&;<>()`$*?[{~\n")
_WORDS = re.compile(r'"[^"]*"|.' if _WINDOWS else r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|.""", re.DOTALL)
_ASSIGNMENT = re.compile(r"\s*[A-Za-z_]\w*=")


def needs_shell(command: str) -> bool:
    """Return True if `command` has a shell operator outside its quotes."""
    if not _WINDOWS and _ASSIGNMENT.match(command):
        return True
    return any(_is_operator(word) for word in _WORDS.findall(command))


def parse_command(command: Union[str, Sequence[str]]) -> Union[str, list[str]]:
    """Return the arguments to start. Raises ValueError for an empty command, an open quote or a missing bash."""
    if not command or (isinstance(command, str) and not command.strip()):
        raise ValueError("the dump command is empty")
    if not isinstance(command, str):
        return list(command)
    if needs_shell(command):
        bash = shutil.which("bash")
        if bash is None:
            raise ValueError(
                "the dump command has shell operators and there is no bash here: quote them, or put the command in a "
                "script"
            )
        return [bash, "-o", "pipefail", "-c", command]
    return command if _WINDOWS else shlex.split(command)


def command_output(
    command: Union[str, Sequence[str]], timeout: Optional[float], chunk: int
) -> Generator[bytes, None, None]:
    """Run `command` and yield its standard output in pieces of at most `chunk` bytes.

    Raises DumpFailed if it cannot be started, fails, or takes longer than `timeout` seconds.
    """
    with _Running(parse_command(command), timeout) as running:
        while data := running.read(chunk):
            yield data
        running.check()


class _Running:
    """A running command in its own process group, so that a pipeline is killed as a whole."""

    def __init__(self, arguments: Union[str, list[str]], timeout: Optional[float]) -> None:
        self._process = _start(arguments)
        self._timeout = timeout
        self._timed_out = False
        self._last_line = _LastLine(self._process.stderr)
        self._timer: Optional[threading.Timer] = None
        if timeout is not None:
            self._timer = threading.Timer(timeout, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def read(self, max_bytes: int) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it's a pipe, for mypy
        return os.read(self._process.stdout.fileno(), max_bytes)

    def check(self) -> None:
        """Wait for the command to end. Raises DumpFailed unless it succeeded."""
        status = self._process.wait()
        if self._timed_out:
            raise DumpFailed(f"the dump command took longer than {self._timeout:g} s")
        if status != 0:
            # After a signal bash prints the command, which may hold secrets.
            message = "" if _signal_name(status) else self._last_line.text()
            raise DumpFailed(f"the dump command {_describe_exit(status)}" + (f": {message}" if message else ""))

    def __enter__(self) -> _Running:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._process.returncode is None:
            self._kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _expire(self) -> None:
        self._timed_out = True
        self._kill()

    def _kill(self) -> None:
        if self._process.returncode is not None:
            return
        with contextlib.suppress(OSError):
            if _WINDOWS:
                subprocess.run(["taskkill", "/F", "/T", "/PID", str(self._process.pid)], capture_output=True)
                self._process.kill()
            else:
                os.killpg(self._process.pid, signal.SIGKILL)


class _LastLine:
    """Drains a pipe in a thread, so that its writer never blocks, and keeps the beginning of its last line."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._line = b""
        self._thread = threading.Thread(target=self._drain, name="vigie-client-stderr", daemon=True)
        self._thread.start()

    def text(self) -> str:
        self._thread.join(1.0)  # a background process of the command may keep the pipe open
        return sanitize_line(self._line.decode("utf-8", "replace"))

    def _drain(self) -> None:
        is_line_start = True
        with self._pipe:
            while piece := self._pipe.readline(_LONGEST_LINE):
                parts = [part for part in piece.split(b"\r") if part.strip()]
                if is_line_start and parts:
                    self._line = parts[-1]
                is_line_start = piece.endswith(b"\n")


def _start(arguments: Union[str, list[str]]) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "VIGIE_TOKEN"}
    try:
        return subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=not _WINDOWS,
        )
    except (OSError, ValueError) as error:
        raise DumpFailed(f"the dump command can't be started: {_describe_start_error(error)}") from None


def _describe_start_error(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such program"
    return error_text(error) if isinstance(error, OSError) else "it holds what no argument may"


def _describe_exit(status: int) -> str:
    name = _signal_name(status)
    if status < 0:
        return f"was killed by {name or -status}"
    return f"ended with status {status}" + (f" ({name})" if name else "")


def _signal_name(status: int) -> str:
    """Return the name of the signal that killed it, or "". A shell exits with 128 + n if signal n killed its child."""
    try:
        return signal.Signals(-status if status < 0 else status - 128).name
    except ValueError:
        return ""


def _is_operator(word: str) -> bool:
    if len(word) == 1:
        return word in _OPERATORS
    # Inside double quotes, bash expands only these.
    return not _WINDOWS and word.startswith('"') and re.search(r"[$`]", re.sub(r"\\.", "", word)) is not None
