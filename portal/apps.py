from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.utils.translation import gettext_lazy as _


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = _("Portal")

    def ready(self) -> None:
        """A package of ours registers its background work as an app does; only apps are asked for theirs."""
        import_module("portal.checks")
        import_module("portal.notifications.schedules")
        import_module("portal.access.findings")
        import_module("portal.access.signin.sessions")
        import_module("portal.access.accounts.first_password")
        import_module("portal.access.tasks")
        import_module("portal.access.signin.trail")


class VigieAdminConfig(AdminConfig):
    default_site = "portal.desk.site.VigieAdminSite"
