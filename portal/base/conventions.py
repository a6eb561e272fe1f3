"""The modules by which apps provide something to the portal, which imports no app by name."""

from typing import Generic, TypeVar

from django.utils.module_loading import autodiscover_modules

Item = TypeVar("Item")

# Each app may have any of these modules. Importing it registers what it provides.
CONVENTIONS = {
    "approval": "agents.approval: backups that make an application's next enrolment need approval",
    "doctor": "portal.status.doctor.registry: checks of `manage.py doctor` and the page System",
    "findings": "portal.base.findings: what needs an operator's attention",
    "legacy": "portal.legacy.registry: data of older tools that `manage.py import_legacy` imports",
    "metrics": "portal.status.metrics: Prometheus metrics",
    "panels": "portal.desk.panels: tiles of the landing page and sections of a machine's page",
    "privacy": "portal.privacy.registry: tables that hold personal data",
    "schedules": "portal.work: periodic jobs, pulses and retention",
    "search": "portal.desk.search: what the search box of every page finds",
    "snippets": "portal.connect: guides to connect machines and applications, and the files that they download",
    "tasks": "portal.work.queue: tasks that can be enqueued",
}


class Collected(Generic[Item]):
    """Items registered by the modules of one convention, in the order of INSTALLED_APPS."""

    def __init__(self, module_name: str) -> None:
        if module_name not in CONVENTIONS:
            raise ValueError(f"{module_name!r} is not in the table of conventions")
        self.module_name = module_name
        self.items: list[Item] = []

    def register(self, item: Item) -> Item:
        """Register and return the item, so that it serves as a decorator."""
        self.items.append(item)
        return item

    def all(self) -> list[Item]:
        autodiscover_modules(self.module_name)
        return list(self.items)
