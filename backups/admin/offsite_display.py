"""Off-site copies on the page of a database."""

from __future__ import annotations

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from backups.models import BackupEntry, OffsiteCopy
from backups.offsite.standing import explain_failure
from portal.admin.display import BAD, GOOD, WARNING, badge, relative_moment, stack_lines
from portal.base.words import EMPTY_VALUE

TONES = {OffsiteCopy.State.COPIED: GOOD, OffsiteCopy.State.FAILED: BAD, OffsiteCopy.State.PENDING: WARNING}


def copy_state(entry: BackupEntry) -> SafeString | str:
    """Return the state of the copy of a version, when it was copied and verified, where it is, and what failed."""
    copy = getattr(entry, "offsite_copy", None)
    if copy is None:
        return EMPTY_VALUE
    lines: list[SafeString | str] = [badge(str(copy.get_state_display()), TONES[OffsiteCopy.State(copy.state)])]
    if copy.state == OffsiteCopy.State.COPIED:
        lines += [
            format_html(_("copied {}"), relative_moment(copy.copied_at)),
            format_html(_("verified {}"), relative_moment(copy.verified_at)),
            format_html('<div class="path">{}/{}</div>', copy.place, copy.key),
        ]
    elif copy.loss:
        lines.append(_("Removed or altered in the store"))
    why = capfirst(explain_failure(copy.error, copy.error_code)) if copy.error else ""
    return stack_lines(*lines, why)
