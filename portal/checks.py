"""System checks of the portal, also for `manage.py check --deploy`."""

import shlex
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

from portal.base.addresses import is_this_machine
from portal.base.private_files import exposed_paths, has_foreign_deposits


@register(Tags.security)
def check_private_files(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    exposed = exposed_paths()
    if not exposed:
        return []
    more = f" and {len(exposed) - 1} more" if len(exposed) > 1 else ""
    hint = f"Run `manage.py prepare` as their owner, or `chmod go= {shlex.join(map(str, exposed[:5]))}`."
    if has_foreign_deposits():
        hint = (
            f"Other users deposit in {settings.DEPOSITS_ROOT}. Name a DEPOSITS_ROOT outside the data directory, "
            "move the deposits there, and run `manage.py prepare`."
        )
    return [Warning(f"Other users of this machine may enter or read {exposed[0]}{more}.", hint=hint, id="vigie.W001")]


@register(Tags.security, deploy=True)
def check_https(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Take the place of Django's checks of HSTS, redirect and secure cookies, which HTTPS switches on together."""
    reached = [host for host in settings.ALLOWED_HOSTS if not is_this_machine(host)]
    if settings.HTTPS or not reached:
        return []
    return [
        Warning(
            f"HTTPS is off, and the portal answers to {reached[0]}: passwords and sessions travel unencrypted.",
            hint="Put a proxy that speaks TLS in front of the portal and set HTTPS=1 and TRUSTED_PROXIES.",
            id="vigie.W002",
        )
    ]
