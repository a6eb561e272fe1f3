"""Staff tokens of a user, which a change of the password does not revoke."""

from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.models import ApiToken


def staff_tokens_note(user: User, *, is_linked: bool) -> SafeString:
    """Say how many staff tokens of the user work, with a link to where they are revoked; nothing where none does."""
    works = user.is_active and user.is_staff
    count = ApiToken.objects.usable(timezone.now()).filter(user=user.pk).count() if works else 0
    if not count:
        return SafeString("")
    text = ngettext(
        "%(count)d staff token stays valid: changing the password does not revoke it.",
        "%(count)d staff tokens stay valid: changing the password does not revoke them.",
        count,
    ) % {"count": count}
    if not is_linked:
        return format_html("{}", text)
    query = {"user": user.pk, "kind": ApiToken.Kind.STAFF, "state": "usable"}
    url = reverse("admin:portal_apitoken_changelist", query=query)
    return format_html('{} <a href="{}">{}</a>', text, url, _("View tokens"))
