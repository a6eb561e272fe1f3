"""Renew objects that a forked child must not share with its parent: connections, locks, thread slots."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Renewable(Protocol):
    """An object that a forked child must reset before using it."""

    def renew(self) -> None:
        """Drop the state shared with the parent. Called in the child before it has any other thread."""
        ...


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(item: Renewable) -> None:
    """Register `item`: its `renew()` is called in every child forked from now on."""
    _renewables.add(item)


def _renew_all() -> None:
    for item in list(_renewables):
        item.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
