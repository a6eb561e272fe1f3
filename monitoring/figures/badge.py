"""A target's badge: a small picture of its name, state and uptime at an address that nobody guesses.

Whoever has the address sees that and no more; taking the key away ends it.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from django.utils.translation import gettext as _

from monitoring.figures.uptime import figures, percent
from monitoring.models import Target
from portal.access.tokens.credential import random_text

State = Target.State
KEY_LENGTH = 22
WINDOW = "30d"

# White stands out from each of them as readers with weak eyes need it, on a light page and on a dark one.
LABEL, GREEN, AMBER, RED, GREY = "#444", "#2e7d32", "#8a6100", "#c62828", "#616161"
HEIGHT, MARGIN = 20, 6

# What XML has no place for.
UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


# --- Keys ------------------------------------------------------------------------------------------------------------


def publish(targets: QuerySet[Target]) -> int:
    """Gives a key to each that has none; to how many."""
    unpublished = targets.filter(badge_key=None).values_list("pk", flat=True)
    # One who publishes the same at the same time keeps the key he was shown.
    return sum(
        Target.objects.filter(pk=pk, badge_key=None).update(badge_key=random_text(KEY_LENGTH))
        for pk in list(unpublished)
    )


def revoke(targets: QuerySet[Target]) -> int:
    """From now on their badges lead nowhere; how many did not already."""
    return targets.exclude(badge_key=None).update(badge_key=None)


def badge_url(target: Target) -> str:
    """The absolute address; "" of a target without a key."""
    if not target.badge_key:
        return ""
    return f"{settings.PORTAL_URL}{reverse('monitoring-badge', args=[target.badge_key])}"


def published(key: str) -> Target | None:
    return Target.objects.filter(badge_key=key).first() if re.fullmatch("[0-9A-Za-z]{16,22}", key) else None


# --- The picture -----------------------------------------------------------------------------------------------------


def svg(target: Target, now: datetime | None = None) -> str:
    """The badge in the language of the moment."""
    message, colour = told(target, now or timezone.now())
    return drawn(target.name, message, colour)


def told(target: Target, now: datetime) -> tuple[str, str]:
    """What the badge says beside the name, and in which colour. One that has only begun to fail is up: `down` it is
    while an incident says so.
    """
    if not target.is_active:
        return _("paused"), GREY
    match target.state:
        case State.UNKNOWN:
            return _("no data"), GREY
        case State.DOWN:
            return _("down"), RED
        case State.UNSTABLE:
            return with_uptime(_("unstable"), target, now), AMBER
        case State.SLOW:
            return with_uptime(_("slow"), target, now), AMBER
    return with_uptime(_("up"), target, now), GREEN


def with_uptime(state: str, target: Target, now: datetime) -> str:
    uptime = figures([target.pk], now, [WINDOW])[target.pk][WINDOW].uptime
    return state if uptime is None else f"{state} {percent(uptime)}"


# Without ids, which pictures on one page would share: the third rectangle squares the corners where two fields meet.
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


def drawn(label: str, message: str, colour: str) -> str:
    """Both texts are told how long to be: whatever font there is, they fill their field and no more."""
    label, message = (UNWRITABLE.sub("\ufffd", text) for text in (label, message))
    left_text, right_text = width_of(label), width_of(message)
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


# Pixels that a character takes in Verdana at 11 px, near enough.
WIDTHS = {4.0: " ijlI.,:;'|!", 5.0: 'frt()[]{}/\\-"*', 9.0: "%+=<>~#_OQGDHNU", 10.8: "mwMW@"}
WIDTH_OF = {character: width for width, characters in WIDTHS.items() for character in characters}
LOWER, OTHER, WIDE = 6.8, 7.7, 11.5


def width_of(text: str) -> int:
    """Pixels that the text takes, about."""
    return max(1, round(sum(width_of_character(character) for character in text)))


def width_of_character(character: str) -> float:
    if character in WIDTH_OF:
        return WIDTH_OF[character]
    if unicodedata.combining(character):
        return 0
    if unicodedata.east_asian_width(character) in "WF":
        return WIDE
    return LOWER if character.islower() or character.isdigit() else OTHER
