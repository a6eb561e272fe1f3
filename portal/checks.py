"""System checks of the portal, also for `manage.py check --deploy`."""

import shlex
from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.utils.translation import gettext as _

from portal.base.addresses import is_this_machine
from portal.base.private_files import exposed_paths, has_foreign_deposits


@register(Tags.security)
def check_private_files(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    exposed = exposed_paths()
    if not exposed:
        return []
    words = {"path": exposed[0], "count": len(exposed) - 1, "paths": shlex.join(map(str, exposed[:5]))}
    text = _("Other users of this machine may enter or read %(path)s.")
    if len(exposed) > 1:
        text = _("Other users of this machine may enter or read %(path)s and %(count)d more.")
    hint = _("Run “manage.py prepare” as their owner, or “chmod go= %(paths)s”.")
    if has_foreign_deposits():
        words["root"] = settings.DEPOSITS_ROOT
        hint = _(
            "Other users upload to %(root)s. Set DEPOSITS_ROOT to a folder outside the data directory, "
            "move the uploads there, and run “manage.py prepare”."
        )
    return [Warning(text % words, hint=hint % words, id="vigie.W001")]


@register(Tags.security, deploy=True)
def check_https(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    """Take the place of Django's checks of HSTS, redirect and secure cookies, which HTTPS switches on together."""
    reached = [host for host in settings.ALLOWED_HOSTS if not is_this_machine(host)]
    if settings.HTTPS or not reached:
        return []
    return [
        Warning(
            _("HTTPS is off, and the portal answers to %(host)s: passwords and sessions travel unencrypted.")
            % {"host": reached[0]},
            hint=_("Put a proxy that speaks TLS in front of the portal and set HTTPS=1 and TRUSTED_PROXIES."),
            id="vigie.W002",
        )
    ]
