"""Guide for an application's token: send the feedback of a participant with curl."""

from collections.abc import Iterator

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.translation import gettext as _

from portal.connect.guides import Guide, Snippet, guide_sources
from portal.desk.links import Link
from portal.models import ApiToken


@guide_sources.register
def feedback_guide(portal_url: str) -> Iterator[Guide]:
    text = _(
        "For programs in any language that are tested in a beta programme. Without a programme in the call, the one "
        "that runs today takes the feedback; the first feedback ever creates the programme “default”."
    )
    script = render_to_string("beta/snippets/feedback.sh.txt", {"feedback_url": portal_url + reverse("beta-feedback")})
    page = Link(reverse("admin:beta_betafeedback_changelist"), _("Feedback"))
    snippet = Snippet(_("Send feedback"), "feedback.sh", script.strip(), '{"status": "recorded", …}', page=page)
    yield Guide("feedback", ApiToken.Kind.CLIENT, _("Feedback (curl)"), text, [snippet], "vigie.token")
