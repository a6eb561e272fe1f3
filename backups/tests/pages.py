"""Ways around the pages of expected backups."""

from __future__ import annotations

from django.contrib.auth.models import Group, User

from portal.access.roles import synchronise_roles
from portal.models import AuditEvent

LIST = "/admin/backups/expectedbackupjob/"


def logged_in(client, role):
    """The client, with somebody logged in who has the role."""
    synchronise_roles()
    user = User.objects.create_user("olga", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client.force_login(user)
    return client


def page_of(job):
    return f"{LIST}{job.pk}/change/"


def act(client, action, *jobs, **fields):
    data = {"action": action, "_selected_action": [job.pk for job in jobs]} | fields
    return client.post(LIST, data, follow=True)


def act_on_page(client, action, job, **fields):
    return client.post(f"{LIST}{job.pk}/act/{action}/", {"_selected_action": job.pk} | fields)


def said(response):
    return [str(message) for message in response.context["messages"]]


def listed(client, **query):
    return {job.database_name for job in client.get(LIST, query).context["cl"].queryset}


def text_of(response):
    return response.content.decode()


def events(action):
    return list(AuditEvent.objects.filter(action=action).values_list("subject", "after"))
