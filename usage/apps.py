from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class UsageConfig(AppConfig):
    name = "usage"
    verbose_name = _("Usage")
    menu_order = 4

    def ready(self) -> None:
        from usage.tracking import sessions  # noqa: F401, PLC0415 - connects the signals; models are there only now
