"""Guide for an enrolment token: upload a database backup from its server."""

import shlex
from collections.abc import Iterator

from django.urls import reverse
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _

from agents.snippets import TOKEN_FILE, enrol_with_client, install_command
from portal.connect.guides import Guide, Snippet, guide_sources
from portal.desk.links import Link
from portal.models import ApiToken


@guide_sources.register
def backup_guide(portal_url: str) -> Iterator[Guide]:
    text = _(
        "On the database server, as the user who dumps the database. Replace <code>my_database</code> and the dump "
        "command with your own, or use <code>--file</code> with the path of a dump."
    )
    add = Link(reverse("admin:backups_expectedbackupjob_add"), _("Add expected backup"))
    expect = _(
        "Then add it as an expected backup, with a schedule: its page has the lines for cron and Task Scheduler."
    )
    options = ["--server", portal_url, "--database", "my_database", "--command", "pg_dump my_database"]
    line = shlex.join(["vigie-client", "deposit", *options])
    deposit = Snippet(_("Upload a backup"), "deposit.sh", line, '{"status": "deposited", …}', expect, add)
    snippets = [install_command(portal_url), enrol_with_client(portal_url), deposit]
    title = _("Database backup")
    yield Guide("backup", ApiToken.Kind.ENROLL, title, mark_safe(text), snippets, TOKEN_FILE)  # noqa: S308 - our own text
