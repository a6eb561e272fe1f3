"""Requests to admin pages in tests of the apps, and what their responses contain."""

from __future__ import annotations

from django.contrib.auth.models import Group, User

from portal.access.roles import role_permissions
from portal.models import AuditEvent


def log_in_with_role(client, role):
    """Log a new member of the role in, and return the client."""
    group, _is_new = Group.objects.get_or_create(name=role)
    through = Group.permissions.through
    through.objects.bulk_create(through(group=group, permission=each) for each in role_permissions(role))
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(group)
    client.force_login(user)
    return client


def messages_of(response):
    return [str(message) for message in response.context["messages"]]


def page_text(response):
    return response.content.decode()


def audit_events(action):
    """Return subject and details of each event of this action."""
    return list(AuditEvent.objects.filter(action=action).values_list("subject", "after"))
