"""Users to whom something can be assigned, as the choices of a form."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

# The choice of no one: an empty choice changes nothing, or is refused.
NOBODY = "nobody"


def assignable_users(present: int | None = None) -> QuerySet[User]:
    """Return active staff, and the present assignee by their key, who may have left."""
    kept = Q(pk=present) if present else Q()
    return User.objects.filter(Q(is_active=True, is_staff=True) | kept).order_by("username")


def assignee_choices(users: Iterable[User], empty: Any) -> list[tuple[str, Any]]:
    """Return the choices of a field: an empty one with this label, no one, and the users by their keys."""
    return [("", empty), (NOBODY, _("no one")), *((str(user.pk), user.get_username()) for user in users)]
