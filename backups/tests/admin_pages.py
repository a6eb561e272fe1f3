"""Requests to the admin pages of expected backups."""

from __future__ import annotations

LIST = "/admin/backups/expectedbackupjob/"


def job_page(job):
    return f"{LIST}{job.pk}/change/"


def post_action(client, action, *jobs, **fields):
    data = {"action": action, "_selected_action": [job.pk for job in jobs]} | fields
    return client.post(LIST, data, follow=True)


def post_action_on_page(client, action, job, **fields):
    return client.post(f"{LIST}{job.pk}/act/{action}/", {"_selected_action": job.pk} | fields)


def listed_databases(client, **query):
    return {job.database_name for job in client.get(LIST, query).context["cl"].queryset}
