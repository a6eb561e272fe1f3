"""The list of mutants: faults of behaviour in our code, each with the tests that must notice it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
LIST = Path(__file__).parent / "mutants.toml"


class DoesNotApply(Exception):
    """The text to replace does not stand once in the file, or a test is missing."""


@dataclass(frozen=True)
class Mutant:
    """A fault. `text` is replaced by `becomes` in `file`; `earlier` holds what differs before modules were moved."""

    id: str
    breaks: str
    file: str
    text: str
    becomes: str
    tests: tuple[str, ...]
    database: str = "sqlite"
    earlier: dict[str, Any] | None = None

    def mutate(self, root: Path) -> str:
        """Return the content of the file with the fault. Raises DoesNotApply."""
        path = root / self.file
        content = path.read_text(encoding="utf-8") if path.is_file() else ""
        if content.count(self.text) != 1:
            raise DoesNotApply(f"{self.id}: the text stands {content.count(self.text)} times in {self.file}")
        missing = [test for test in self.tests if not (root / test).exists()]
        if missing:
            raise DoesNotApply(f"{self.id}: there is no {missing[0]}")
        return content.replace(self.text, self.becomes)

    def for_sources(self, root: Path) -> Mutant:
        """Return the mutant as it applies to these sources, of today or earlier. Raises DoesNotApply."""
        try:
            self.mutate(root)
        except DoesNotApply:
            if self.earlier is None:
                raise
            earlier = replace(self, **self.earlier)
            earlier.mutate(root)
            return earlier
        return self


def load_mutants() -> list[Mutant]:
    found = tomllib.loads(LIST.read_text(encoding="utf-8"))
    return [Mutant(id=name, **_with_tuples(fields)) for name, fields in found.items()]


def _with_tuples(fields: dict[str, Any]) -> dict[str, Any]:
    changed = fields | {"tests": tuple(fields["tests"])} if "tests" in fields else dict(fields)
    if "earlier" in changed:
        changed["earlier"] = _with_tuples(changed["earlier"])
    return changed
