from corsheaders.signals import check_request_enabled
from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class BetaConfig(AppConfig):
    name = "beta"
    verbose_name = _("Beta")
    menu_order = 5

    def ready(self) -> None:
        from beta.api import cors  # noqa: PLC0415 - models are there only now

        check_request_enabled.connect(cors.is_origin_allowed)
