"""What the ground floor needs from the apps above it, collected from modules of agreed names.

An app's `findings.py`, `panels.py`, `schedules.py` and `metrics.py` register what they have, and its `approval.py`
which machines it relies on. All of it is collected without importing any app by name.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from django.utils.module_loading import autodiscover_modules

Item = TypeVar("Item")


class Collected(Generic[Item]):
    """Items registered by the modules of one name, in the order of INSTALLED_APPS."""

    def __init__(self, module_name: str) -> None:
        self.module_name = module_name
        self.items: list[Item] = []

    def register(self, item: Item) -> Item:
        """Registers and returns the item, so that it serves as a decorator."""
        self.items.append(item)
        return item

    def all(self) -> list[Item]:
        autodiscover_modules(self.module_name)
        return list(self.items)
