from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


def create_trigram_indexes(**signal: Any) -> None:
    """Import late: the admin needs the models."""
    import_module("portal.desk.trigrams").create_trigram_indexes(**signal)


class PortalConfig(AppConfig):
    name = "portal"
    verbose_name = _("Portal")

    def ready(self) -> None:
        """A package of ours registers its background work as an app does; only apps are asked for theirs."""
        # A configuration of our own would hide Django's app from mypy's plug-in, which then knows no type of a user.
        apps.get_app_config("auth").verbose_name = _("Users and groups")
        import_module("portal.checks")
        post_migrate.connect(create_trigram_indexes, sender=self)
        import_module("portal.notifications.schedules")
        import_module("portal.access.findings")
        import_module("portal.access.signin.sessions")
        import_module("portal.access.accounts.first_password")
        import_module("portal.access.tasks")
        import_module("portal.access.signin.trail")
        import_module("portal.archives.schedules")
        import_module("portal.archives.standing")
        import_module("portal.archives.checks")


class VigieAdminConfig(AdminConfig):
    default_site = "portal.desk.site.VigieAdminSite"
