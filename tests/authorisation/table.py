"""The table of expected responses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from django.contrib import admin

from tests.authorisation.world import BADGE, GONE, KEY, TOKENS, USERS, World

TABLE = Path(__file__).with_name("table.txt")
# Who stands behind a column.
OUTSIDERS = ("nobody", "token:superuser", "session:inactive", "session:plain")
STAFF = ("bare", *USERS)
Answers = dict[str, str]


@dataclass(frozen=True)
class Row:
    """A method and a path with the expected response to each column of callers."""

    section: str
    method: str
    path: str
    cells: Answers
    # Whether it is the first model of its group: of the others, one outsider is enough, since they share their code.
    is_first: bool = True

    def expected(self) -> Answers:
        """Return the expected response to each caller, by name."""
        if self.section == "accounts":
            unknown = ("nobody", "token:superuser", "session:inactive")
            users = of_staff("session", dict.fromkeys(STAFF, self.cells["user"]))
            return dict.fromkeys(unknown, self.cells["nobody"]) | {"session:plain": self.cells["plain"]} | users
        if self.section == "pages":
            outsiders = OUTSIDERS if self.is_first else OUTSIDERS[:1]
            return dict.fromkeys(outsiders, self.cells["outsider"]) | of_staff("session", self.cells)
        shown = self.cells["session"]
        sessions = self.cells if shown == "=" else dict.fromkeys(STAFF, shown)
        return {
            **{name: self.cells[name] for name in ("nobody", *TOKENS)},
            **{"token:plain": self.cells["former"], "session:inactive": self.cells["nobody"]},
            **{"session:plain": sessions["bare"]},
            **of_staff("token", self.cells),
            **of_staff("session", sessions),
        }


def of_staff(means: str, cells: Answers) -> Answers:
    return {f"{means}:{name}": cells[name] for name in STAFF}


class Table:
    """The rows, expanded by model and action. A literal path takes precedence over one with a group."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.groups: dict[str, list[str]] = {}
        own: dict[tuple[str, str], Row] = {}
        of_groups: dict[tuple[str, str], Row] = {}
        for row in self.lines():
            found = {(each.method, each.path): each for each in self.expanded(row)}
            kept = of_groups if self.group_in(row.path) else own
            if twice := found.keys() & kept.keys():
                raise ValueError(f"more than one row for {sorted(twice)[0]}")
            kept.update(found)
        self.rows = list((of_groups | own).values())

    def lines(self) -> Iterator[Row]:
        section, columns = "", []
        for line in TABLE.read_text(encoding="utf-8").splitlines():
            first, *words = line.split() or ["#"]
            if first.startswith("["):
                section, columns = first.strip("[]"), words
            elif section == "groups" and not first.startswith("#"):
                self.groups[first] = [model for word in words for model in self.groups.get(word, [word])]
            elif not first.startswith("#"):
                path, *cells = words
                for method in first.split(","):
                    yield Row(section, method, path, dict(zip(columns, cells, strict=True)))

    def group_in(self, path: str) -> str:
        return next((part for part in path.split("/") if part in self.groups), "")

    def expanded(self, row: Row) -> Iterator[Row]:
        group = self.group_in(row.path)
        for number, model in enumerate(self.groups.get(group, [""])):
            path = row.path.replace(group, model) if group else row.path
            for action in actions_of(path) if "ACTION" in path else [""]:
                yield replace(row, path=self.filled(path.replace("ACTION", action)), is_first=number == 0)

    def filled(self, path: str) -> str:
        """Return the path with existing names and keys in place of the placeholders in capitals."""
        names = {"KEY": KEY, "BADGE": BADGE, "JOB": self.world.rows["backups/expectedbackupjob"], "GONE": GONE}
        if "/ROW/" in path:
            names["ROW"] = self.world.rows[model_in(path)]
        for name, value in names.items():
            path = path.replace(f"/{name}", f"/{value}")
        return path


def model_in(path: str) -> str:
    return "/".join(path.split("/")[2:4])


def actions_of(path: str) -> list[str]:
    found = {f"{model._meta.app_label}/{model._meta.model_name}": each for model, each in admin.site._registry.items()}
    return list(getattr(found[model_in(path)], "object_actions", ()))
