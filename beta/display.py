"""How feedback looks: what it is, how grave and what became of it, and what its participant said.

What participants wrote may be in any script: each text has a direction of its own, which ends where it ends.
"""

from __future__ import annotations

from django.db.models import QuerySet
from django.db.models.functions import Left
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from agents.enrolment import machine_subject
from beta.models import BetaFeedback
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge
from portal.base.text import truncate_text
from portal.base.words import EMPTY_VALUE

Severity, Status, Type = BetaFeedback.Severity, BetaFeedback.Status, BetaFeedback.Type
MACHINE = machine_subject("")
SHOWN_COMMENT, SHOWN_PAGE = 110, 48
# Of a comment, what its first line is looked for in.
READ_OF_COMMENT = 400

SEVERITY_TONES = {Severity.CRITICAL: BAD, Severity.HIGH: BAD, Severity.MEDIUM: WARNING, Severity.LOW: QUIET}
STATUS_TONES = {
    Status.OPEN: WARNING,
    Status.PLANNED: WARNING,
    Status.FIXED: GOOD,
    Status.DECLINED: QUIET,
    Status.DUPLICATE: QUIET,
}


def isolated(text: str) -> SafeString:
    return format_html("<bdi>{}</bdi>", text)


def type_badge(feedback: BetaFeedback) -> SafeString:
    """Of a bug that nobody has mended yet the colour says so."""
    is_bug = feedback.type == Type.BUG and feedback.status in BetaFeedback.UNSETTLED
    return badge(feedback.get_type_display(), WARNING if is_bug else QUIET)


def severity_badge(feedback: BetaFeedback) -> SafeString | str:
    """Nothing where there is none and none is needed."""
    if feedback.severity:
        return badge(feedback.get_severity_display(), SEVERITY_TONES[Severity(feedback.severity)])
    return badge(_("not judged"), QUIET) if feedback.type == Type.BUG else ""


def status_badge(feedback: BetaFeedback) -> SafeString:
    return badge(feedback.get_status_display(), STATUS_TONES[Status(feedback.status)])


def score(feedback: BetaFeedback) -> str:
    return EMPTY_VALUE if feedback.nps_score is None else str(feedback.nps_score)


def tags(feedback: BetaFeedback) -> SafeString:
    return format_html_join(" ", '<span class="tag"><bdi>{}</bdi></span>', ((tag.name,) for tag in feedback.tags.all()))


def in_brief(rows: QuerySet[BetaFeedback]) -> QuerySet[BetaFeedback]:
    """Of their comments only what is shown of many: fifty may be five megabytes."""
    return rows.defer("comment").annotate(beginning=Left("comment", READ_OF_COMMENT))


def brief(feedback: BetaFeedback, longest: int = SHOWN_COMMENT) -> SafeString:
    """The excerpt of one of `in_brief`."""
    return said(getattr(feedback, "beginning", ""), longest)


def said(comment: str, longest: int = SHOWN_COMMENT) -> SafeString:
    """Its first line that says something, of a long one the beginning; of a score alone, that there is no comment."""
    first = next((line.strip() for line in comment[:READ_OF_COMMENT].splitlines() if line.strip()), "")
    if not first:
        return format_html('<span class="quiet">{}</span>', _("no comment"))
    return isolated(truncate_text(first, longest))


def in_full(comment: str) -> SafeString | str:
    """All of it, in a box that scrolls."""
    if not comment:
        return EMPTY_VALUE
    return format_html('<div class="comment" dir="auto" tabindex="0">{}</div>', comment)


def told_by(feedback: BetaFeedback) -> SafeString | str:
    """The token it came by; of a machine, as a link to it."""
    if feedback.source == BetaFeedback.PUBLIC:
        return _("public form")
    if not feedback.source.startswith(MACHINE):
        return feedback.source
    url = reverse("admin:agents_agent_changelist", query={"q": feedback.source.removeprefix(MACHINE)})
    return format_html('<a href="{}">{}</a>', url, feedback.source)


def link_to(feedback: BetaFeedback, text: str = "") -> SafeString:
    url = reverse("admin:beta_betafeedback_change", args=[feedback.pk])
    return format_html('<a href="{}">{}</a>', url, text or str(feedback))
