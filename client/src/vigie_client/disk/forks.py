"""Renewal of what a process must not share with the children that it forks: connections, locks, slots of threads."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """An object that a forked child cannot use as its parent left it."""

    def renew(self) -> None:
        """Drop what is shared with the parent. Called in the child before any other thread exists there."""
        ...


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(item: Renewable) -> None:
    """Have `item.renew()` called in every child forked from now on."""
    _renewables.add(item)


def _renew_all() -> None:
    for item in list(_renewables):
        item.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
