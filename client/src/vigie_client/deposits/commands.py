"""Dump commands: run, watched, and believed only when every part of them says that it succeeded."""

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
from typing import Any, NoReturn, Optional, Union

from vigie_client.deposits.errors import DumpFailed, error_text, sanitize_line

_LONGEST_LINE = 2048
_WINDOWS = os.name == "nt"
# cmd.exe expands nothing unquoted that bash would, and a Windows path is full of backslashes.
_OPERATORS = frozenset("|&<>" if _WINDOWS else "|&;<>()`$*?[{~\n")
_WORDS = re.compile(r'"[^"]*"|.' if _WINDOWS else r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|.""", re.DOTALL)
_ASSIGNMENT = re.compile(r"\s*[A-Za-z_]\w*=")


def needs_shell(command: str) -> bool:
    """Whether anything in `command`, outside its quotes, means something to a shell alone."""
    if not _WINDOWS and _ASSIGNMENT.match(command):
        return True
    return any(_means_something(word) for word in _WORDS.findall(command))


def parse_command(command: Union[str, Sequence[str]]) -> Union[str, list[str]]:
    """What to start for `command`. ValueError if it's empty, has an open quote, or needs a bash that isn't there."""
    if not isinstance(command, str):
        given = list(command)
        return given if given else _refuse("the dump command is empty")
    if not command.strip():
        _refuse("the dump command is empty")
    if needs_shell(command):
        return [_bash(), "-o", "pipefail", "-c", command]
    return command if _WINDOWS else shlex.split(command)


def command_output(
    command: Union[str, Sequence[str]], timeout: Optional[float], chunk: int
) -> Generator[bytes, None, None]:
    """What `command` writes to its standard output, in pieces of at most `chunk` bytes.

    DumpFailed if it can't be started, doesn't end with status 0, or isn't done after `timeout` seconds.
    """
    with _Running(parse_command(command), timeout) as running:
        while data := running.read(chunk):
            yield data
        running.check()


class _Running:
    """A started command, in a process group of its own, so that a pipeline ends as a whole."""

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

    def read(self, most: int) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - it's a pipe, for mypy
        return os.read(self._process.stdout.fileno(), most)

    def check(self) -> None:
        """Wait for the end; DumpFailed unless it was a good one."""
        status = self._process.wait()
        if self._timed_out:
            raise DumpFailed(f"the dump command took longer than {self._timeout:g} s")
        if status != 0:
            # Of a signal bash tells by printing the command, whatever is in it.
            said = "" if _signal_name(status) else self._last_line.text()
            raise DumpFailed(f"the dump command {_ending(status)}" + (f": {said}" if said else ""))

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
    """Reads a pipe to its end, in a thread so that its writer never waits, and remembers how its last line began."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._line = b""
        self._thread = threading.Thread(target=self._drain, name="vigie-client-stderr", daemon=True)
        self._thread.start()

    def text(self) -> str:
        self._thread.join(1.0)  # what the command left running may keep the pipe open
        return sanitize_line(self._line.decode("utf-8", "replace"))

    def _drain(self) -> None:
        whole = True
        with self._pipe:
            while piece := self._pipe.readline(_LONGEST_LINE):
                shown = [part for part in piece.split(b"\r") if part.strip()]
                if whole and shown:
                    self._line = shown[-1]
                whole = piece.endswith(b"\n")


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
        raise DumpFailed(f"the dump command can't be started: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such program"
    return error_text(error) if isinstance(error, OSError) else "it holds what no argument may"


def _ending(status: int) -> str:
    name = _signal_name(status)
    if status < 0:
        return f"was killed by {name or -status}"
    return f"ended with status {status}" + (f" ({name})" if name else "")


def _signal_name(status: int) -> str:
    """The signal that killed it, or nothing. A shell says 128 + n of what signal n killed in it."""
    try:
        return signal.Signals(-status if status < 0 else status - 128).name
    except ValueError:
        return ""


def _means_something(word: str) -> bool:
    if len(word) == 1:
        return word in _OPERATORS
    # Double quotes keep bash from all but these.
    return not _WINDOWS and word.startswith('"') and re.search(r"[$`]", re.sub(r"\\.", "", word)) is not None


def _bash() -> str:
    found = shutil.which("bash")
    return found or _refuse(
        "the dump command has shell operators and there is no bash here: quote them, or put the command in a script"
    )


def _refuse(sentence: str) -> NoReturn:
    raise ValueError(sentence)
