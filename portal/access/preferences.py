"""Preferences of the signed-in user. The session keeps a copy, so that requests read no table for it."""

from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import translation

from portal.access.models import Preferences
from portal.base.words import set_readers_zone

KEY = "preferences"


@dataclass(frozen=True)
class ReaderPreferences:
    """An empty time zone stands for the portal's, an empty language for the browser's."""

    time_zone: str = ""
    language: str = ""
    has_dismissed_checklist: bool = False


def load_preferences(request: HttpRequest) -> ReaderPreferences:
    """Return the user's preferences as the session has them, perhaps written by another version of the portal."""
    kept = request.session.get(KEY, {})
    return ReaderPreferences(**{name: kept[name] for name in ReaderPreferences.__dataclass_fields__ if name in kept})


def copy_preferences(request: HttpRequest, user_id: Any) -> None:
    """Copy the user's row into the session: at the sign-in, and every few minutes for their other sessions."""
    row = Preferences.objects.filter(user=user_id).values(*ReaderPreferences.__dataclass_fields__).first()
    request.session[KEY] = row or {}


def save_preferences(request: HttpRequest, **changes: Any) -> None:
    """Change the user's preferences; their other sessions follow within minutes."""
    Preferences.objects.update_or_create(user=request.user, defaults=changes)  # type: ignore[misc]
    request.session[KEY] = asdict(load_preferences(request)) | changes
    activate_preferences(request)


def activate_preferences(request: HttpRequest) -> None:
    """Show this request's times and texts as the user prefers. A language chosen in this browser comes first."""
    preferences = load_preferences(request)
    set_readers_zone(preferences.time_zone)
    if preferences.language and not request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME):
        translation.activate(preferences.language)
        request.LANGUAGE_CODE = translation.get_language()
