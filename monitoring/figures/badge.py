"""A target's badge: an SVG with its name, state and uptime, at an address with an unguessable key.

Nobody with the address sees more than that. Revoking the key ends it.
"""

import re
import unicodedata
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from django.utils.translation import gettext as _

from monitoring.figures.uptime import format_percent, load_figures
from monitoring.models import Target
from portal.access.tokens.credential import random_text

State = Target.State
KEY_LENGTH = 22
WINDOW = "30d"

# White text has enough contrast (WCAG AA) on each of them.
LABEL, GREEN, AMBER, RED, GREY = "#444", "#2e7d32", "#8a6100", "#c62828", "#616161"
HEIGHT, MARGIN = 20, 6

# Characters that XML does not allow.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# --- Keys ------------------------------------------------------------------------------------------------------------


def publish_badges(targets: QuerySet[Target]) -> int:
    """Give a key to each target without one. Return the number of new keys."""
    unpublished = targets.filter(badge_key=None).values_list("pk", flat=True)
    # Conditional, so that a key published at the same time is kept.
    return sum(
        Target.objects.filter(pk=pk, badge_key=None).update(badge_key=random_text(KEY_LENGTH))
        for pk in list(unpublished)
    )


def revoke_badges(targets: QuerySet[Target]) -> int:
    """Remove the keys, so that the addresses answer 404. Return the number of keys removed."""
    return targets.exclude(badge_key=None).update(badge_key=None)


def badge_url(target: Target) -> str:
    """Return the absolute address, or "" for a target without a key."""
    if not target.badge_key:
        return ""
    return f"{settings.PORTAL_URL}{reverse('monitoring-badge', args=[target.badge_key])}"


def find_published(key: str) -> Target | None:
    return Target.objects.filter(badge_key=key).first() if re.fullmatch("[0-9A-Za-z]{16,22}", key) else None


# --- The picture -----------------------------------------------------------------------------------------------------


def render_badge(target: Target, now: datetime | None = None) -> str:
    """Return the SVG in the active language."""
    message, colour = badge_message(target, now or timezone.now())
    return draw_badge(target.name, message, colour)


def badge_message(target: Target, now: datetime) -> tuple[str, str]:
    """Return the text beside the name, and its colour. A target that has only begun to fail is still up: only an open
    incident makes it `down`.
    """
    if not target.is_active:
        return _("paused"), GREY
    match target.state:
        case State.UNKNOWN:
            return _("no data"), GREY
        case State.DOWN:
            return _("down"), RED
        case State.UNSTABLE:
            return append_uptime(_("unstable"), target, now), AMBER
        case State.SLOW:
            return append_uptime(_("slow"), target, now), AMBER
    return append_uptime(_("up"), target, now), GREEN


def append_uptime(state: str, target: Target, now: datetime) -> str:
    uptime = load_figures([target.pk], now, [WINDOW])[target.pk][WINDOW].uptime
    return state if uptime is None else f"{state} {format_percent(uptime)}"


# Without ids, which several badges on one page would share. The third rectangle squares the inner corners.
PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" aria-label="{title}">
<title>{title}</title>
<rect width="{width}" height="{height}" rx="3" fill="{colour}"/>
<rect width="{left}" height="{height}" rx="3" fill="{label_colour}"/>
<rect x="{edge}" width="3" height="{height}" fill="{label_colour}"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">
<text x="{left_middle}" y="14" textLength="{left_text}" lengthAdjust="spacingAndGlyphs">{label}</text>
<text x="{right_middle}" y="14" textLength="{right_text}" lengthAdjust="spacingAndGlyphs">{message}</text>
</g>
</svg>
"""


def draw_badge(label: str, message: str, colour: str) -> str:
    """Draw both fields. `textLength` makes the texts fit them in any font."""
    label, message = (UNWRITABLE.sub("\ufffd", text) for text in (label, message))
    left_text, right_text = text_pixels(label), text_pixels(message)
    left, right = left_text + 2 * MARGIN, right_text + 2 * MARGIN
    return PICTURE.format(
        width=left + right,
        height=HEIGHT,
        left=left,
        edge=left - 3,
        left_text=left_text,
        right_text=right_text,
        left_middle=left / 2,
        right_middle=left + right / 2,
        label_colour=LABEL,
        colour=colour,
        title=escape(f"{label}: {message}"),
        label=escape(label),
        message=escape(message),
    )


# Approximate width of a character in Verdana at 11 px.
WIDTHS = {4.0: " ijlI.,:;'|!", 5.0: 'frt()[]{}/\\-"*', 9.0: "%+=<>~#_OQGDHNU", 10.8: "mwMW@"}
WIDTH_OF = {character: width for width, characters in WIDTHS.items() for character in characters}
LOWER, OTHER, WIDE = 6.8, 7.7, 11.5


def text_pixels(text: str) -> int:
    """Return the approximate width of the text in pixels."""
    return max(1, round(sum(character_pixels(character) for character in text)))


def character_pixels(character: str) -> float:
    if character in WIDTH_OF:
        return WIDTH_OF[character]
    if unicodedata.combining(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return WIDE
    return LOWER if character.islower() or character.isdigit() else OTHER
