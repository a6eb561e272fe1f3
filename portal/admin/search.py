"""Search sources: users and tokens."""

from django.contrib.auth.models import User

from portal.desk.search import Source, sources
from portal.models import ApiToken


def describe_user(user: User) -> str:
    return " · ".join(part for part in (user.get_full_name(), user.email) if part)


def describe_token(token: ApiToken) -> str:
    return " · ".join([str(token.get_kind_display()), *([token.key] if token.label else [])])


sources.register(Source(User, ("username", "first_name", "last_name", "email"), detail=describe_user))
sources.register(Source(ApiToken, ("label",), ("key",), name=lambda token: token.name, detail=describe_token))
