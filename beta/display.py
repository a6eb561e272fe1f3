"""HTML of feedback: badges, excerpts and links.

Participants write in any script: each of their texts is isolated, so that its direction ends with it.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Left
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from agents.enrolment import machine_subject
from beta.models import BetaFeedback
from portal.admin.display import BAD, GOOD, QUIET, WARNING, badge, stack_lines
from portal.base.text import truncate_text
from portal.base.words import EMPTY_VALUE

Severity, Status, Type = BetaFeedback.Severity, BetaFeedback.Status, BetaFeedback.Type
MACHINE = machine_subject("")
SHOWN_COMMENT, SHOWN_PAGE = 110, 48
# Characters of a comment in which its first line is searched for.
READ_OF_COMMENT = 400

SEVERITY_TONES = {Severity.CRITICAL: BAD, Severity.HIGH: BAD, Severity.MEDIUM: WARNING, Severity.LOW: QUIET}
STATUS_TONES = {
    Status.OPEN: WARNING,
    Status.PLANNED: WARNING,
    Status.FIXED: GOOD,
    Status.DECLINED: QUIET,
    Status.DUPLICATE: QUIET,
}


def isolate_direction(text: str) -> SafeString:
    return format_html("<bdi>{}</bdi>", text)


def type_badge(feedback: BetaFeedback) -> SafeString:
    """Color a bug that is not fixed yet."""
    is_bug = feedback.type == Type.BUG and feedback.status in BetaFeedback.UNSETTLED
    return badge(feedback.get_type_display(), WARNING if is_bug else QUIET)


def severity_badge(feedback: BetaFeedback) -> SafeString | str:
    """Return the severity, or a remark if a bug has none."""
    if feedback.severity:
        return badge(feedback.get_severity_display(), SEVERITY_TONES[Severity(feedback.severity)])
    return badge(_("untriaged"), QUIET) if feedback.type == Type.BUG else ""


def status_badge(feedback: BetaFeedback) -> SafeString:
    return badge(feedback.get_status_display(), STATUS_TONES[Status(feedback.status)])


def score_text(feedback: BetaFeedback) -> str:
    return EMPTY_VALUE if feedback.nps_score is None else str(feedback.nps_score)


def tag_list(feedback: BetaFeedback) -> SafeString:
    return format_html_join(" ", '<span class="tag"><bdi>{}</bdi></span>', ((tag.name,) for tag in feedback.tags.all()))


def with_excerpts(rows: QuerySet[BetaFeedback]) -> QuerySet[BetaFeedback]:
    """Read only the beginning of each comment: fifty whole ones may be five megabytes."""
    return rows.defer("comment").annotate(beginning=Left("comment", READ_OF_COMMENT))


def feedback_excerpt(feedback: BetaFeedback, longest: int = SHOWN_COMMENT) -> SafeString:
    """Return the first line with text of a row of `with_excerpts`, or a remark that there is no comment."""
    beginning: str = feedback.beginning  # type: ignore[attr-defined]
    first = next((line.strip() for line in beginning.splitlines() if line.strip()), "")
    if not first:
        return format_html('<span class="quiet">{}</span>', _("no comment"))
    return isolate_direction(truncate_text(first, longest))


def participant_and_page(feedback: BetaFeedback) -> SafeString:
    page = truncate_text(feedback.page, SHOWN_PAGE)
    return stack_lines(isolate_direction(feedback.participant), isolate_direction(page) if page else "")


def full_comment(comment: str) -> SafeString | str:
    """Return the whole comment in a scrollable box."""
    if not comment:
        return EMPTY_VALUE
    return format_html('<div class="comment" dir="auto" tabindex="0">{}</div>', comment)


def source_link(feedback: BetaFeedback) -> SafeString | str:
    """Name the token that sent the feedback, with a link if it is a machine's."""
    if feedback.source == BetaFeedback.PUBLIC:
        return _("public feedback page")
    if not feedback.source.startswith(MACHINE):
        return feedback.source
    url = reverse("admin:agents_agent_changelist", query={"q": feedback.source.removeprefix(MACHINE)})
    return format_html('<a href="{}">{}</a>', url, feedback.source)


def feedback_link(feedback: BetaFeedback, text: str = "") -> SafeString:
    url = reverse("admin:beta_betafeedback_change", args=[feedback.pk])
    return format_html('<a href="{}">{}</a>', url, text or str(feedback))


# Header and cell of the columns of tables of feedback.
COLUMNS: dict[str, tuple[Promise, Callable[[BetaFeedback], Any]]] = {
    "given": (pgettext_lazy("date", "Sent"), lambda feedback: feedback.given_at),
    "number": (gettext_lazy("Number"), feedback_link),
    "participant": (gettext_lazy("Participant"), lambda feedback: isolate_direction(feedback.participant)),
    "type": (gettext_lazy("Type"), type_badge),
    "severity": (gettext_lazy("Severity"), severity_badge),
    "status": (gettext_lazy("Status"), status_badge),
    "score": (gettext_lazy("Score"), score_text),
    "comment": (gettext_lazy("Comment"), feedback_excerpt),
}


def feedback_table(rows: Iterable[BetaFeedback], names: str) -> dict[str, Any]:
    """Return `columns` and `rows` of a Section, with the columns of COLUMNS that are named."""
    columns = [COLUMNS[name] for name in names.split()]
    return {
        "columns": [str(title) for title, _cell in columns],
        "rows": [[cell(feedback) for _title, cell in columns] for feedback in rows],
    }
