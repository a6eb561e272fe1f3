"""Allowed Apprise URLs: services that are reached by HTTP alone, and parameters that only shape the message.

An operator enters the URL. With all that Apprise offers it could read and send files of the server, write to its
screen and its syslog, or make any request in its name.
"""

import logging
import sys
from functools import cache
from types import SimpleNamespace
from typing import Any

import requests
from apprise import Apprise, AppriseAsset, PersistentStoreMode, plugins
from apprise.manager_plugins import NotificationManager
from django.utils.translation import gettext as _

from portal.egress.session import GuardedSession

# Its own log lines hold parts of URLs, and those are secret as a whole.
logging.getLogger("apprise").disabled = True

# Left out are services with sockets of their own, which the guard does not see, and those that keep keys in files.
SCHEME_NAMES = """
    apprise apprises bark barks betterstack brevo clickatell dingtalk discord feishu flock form forms gchat goalert
    goalerts gotify gotifys hassio hassios ifttt ilert incidentio jira json jsons lark line mailgun mastodon mastodons
    matrix matrixs mmost mmosts msg91 msgbird ncloud nclouds nctalk nctalks nexmo ntfy ntfys o365 azure onesignal
    opsgenie pagerduty pagertree pbul plivo postmark pover prowl psafer psafers pushdeer pushdeers pushplus resend
    revolt ringc rocket rockets sendgrid seven signal signals signl4 sinch slack smseagle smseagles smtp2go sns
    sparkpost spike splunk squadcast synology synologys telnyx tgram threema toot toots twilio twist viber victorops
    vonage webex wecombot whatsapp workflow workflows wxteams xmatters xml xmls zoom zulip
"""
# Left out are those that name a file (template, keyfile, subfile, attach, pgp…), choose the method or headers of the
# request, or turn off the verification of certificates.
PARAMETER_NAMES = """
    access action actions alert alerting_scenario alias api-version apikey archive auth avatar avatar_url badge batch
    bcc blocks bot_token botname call category cc channel channels class click content contents copy cto decode dedup
    delay delete detect discovery email emojis entity entity_id env expire external_id fields filtering flags flash
    footer footer_logo format from group gwid href hsreq icon icon_url id image interval key label lang language level
    location mdv mode msgtype name nid oauth_id oauth_secret optional overflow pa path ping policy powerautomate
    prefix preview priority profile recipients region reply reply_to retry route routeid routing_key rto savesent
    secret sensitive service severity short_url sid sig silent sound source sp spi spoiler status subtitle sv tags
    team team_wait thirdparty thread threadkey tid timestamp to token topic ttl tts tz urgency url url_prefix
    url_title ver version vibration visibility volume wait webhook workspace wrap xtags
"""
SCHEMES, PARAMETERS = frozenset(SCHEME_NAMES.split()), frozenset(PARAMETER_NAMES.split())


class UnusableURL(Exception):
    """Why an Apprise URL is not used, in a sentence that repeats nothing secret."""


def guarded_call(verb: str) -> Any:
    def call(*args: Any, **options: Any) -> requests.Response:
        return getattr(GuardedSession(), verb)(*args, **options)  # type: ignore[no-any-return]

    return call


# All that the services use of `requests`; for anything else they fail.
GUARDED_REQUESTS = SimpleNamespace(
    codes=requests.codes,
    RequestException=requests.RequestException,
    TooManyRedirects=requests.TooManyRedirects,
    **{verb: guarded_call(verb) for verb in ("delete", "get", "post", "put", "request")},
)


@cache
def load_services() -> Any:
    """Load Apprise's services, and let the name `requests` mean GUARDED_REQUESTS in every module of Apprise."""
    manager: Any = NotificationManager()  # type: ignore[no-untyped-call]
    manager.load_modules()
    for name, module in list(sys.modules.items()):
        if name.startswith("apprise.") and vars(module).get("requests") is requests:
            vars(module)["requests"] = GUARDED_REQUESTS
    return manager


def create_plugin(url: str) -> Any:
    """Return the service that the URL stands for, which keeps nothing on disk. Raises UnusableURL."""
    asset = AppriseAsset(app_id="Vigie", storage_mode=PersistentStoreMode.MEMORY, http_redirects=False)
    plugin = Apprise.instantiate(parse_allowed_url(url), asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise UnusableURL(_("Apprise does not support this URL. Its documentation lists the supported services."))
    return plugin


def parse_allowed_url(url: str) -> dict[str, Any]:
    """Return what Apprise makes of the URL, for its plugin. Raises UnusableURL."""
    known_services = load_services()
    parts: dict[str, Any] | None = plugins.url_to_dict(url, secure_logging=True)  # type: ignore[no-untyped-call]
    if parts is None:
        raise UnusableURL(_("Apprise does not support this URL. Its documentation lists the supported services."))
    scheme = str(parts["schema"])
    if scheme not in SCHEMES:
        text = _("%(scheme)s:// is not supported: the portal sends over HTTP only.")
        raise UnusableURL(text % {"scheme": scheme})
    refused = parts["qsd"].keys() - PARAMETERS
    # Any other name may be a part of the secret that was pasted wrongly.
    known = sorted(refused & known_services[scheme].template_args.keys())
    if known:
        raise UnusableURL(_("The parameter “%(name)s” is not allowed in an Apprise URL.") % {"name": known[0]})
    if refused:
        raise UnusableURL(_("A parameter of this Apprise URL is not allowed."))
    return parts
