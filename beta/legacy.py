"""Import feedback from the table `beta_feedback` of an older tool."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, tzinfo
from typing import Any

from django.utils import timezone

from beta.feedback.intake import build_feedback
from beta.feedback.reading import FeedbackPayload, collect_feedback
from beta.models import BetaFeedback, BetaProgramme
from beta.programmes import DEFAULT, NoSuchProgramme, NotOneProgramme, find_by_name
from beta.report.review import REVIEW_LEASE, store_verdict
from portal.api.payloads import PayloadReader
from portal.legacy.errors import UnreadableFile
from portal.legacy.files import LegacyFile
from portal.legacy.registry import ACTOR, ImportOptions, LegacyKind, batched, legacy_kinds
from portal.legacy.reports import BAD_TIME, ImportReport, Reason, describe_fields
from portal.legacy.tables import read_table
from portal.legacy.values import read_integer, read_moment, read_text

TABLE = "beta_feedback"
CONTENT = ("type", "severity", "nps_score", "comment", "created_at")
# Later versions of the table may name who gave it.
PARTICIPANTS = ("participant", "user_email", "email")
OPTIONAL = ("page", "app_version")
NAMESPACE = uuid.UUID("0d8a4c52-6f5b-5a3e-9f0c-2f0b7d1e8a64")

OTHER_CONTENT = Reason("feedback_conflict", "the portal has other feedback with this id")


def has_feedback(file: LegacyFile) -> bool:
    return {"type", "comment"} <= file.tables.get(TABLE, {}).keys()


def load_feedback(file: LegacyFile, report: ImportReport, options: ImportOptions) -> None:
    """Import the feedback. No periodic job reviews the verdict meanwhile, or it would announce that it changed."""
    with options.lease(REVIEW_LEASE) as lease:
        programme = find_programme(file, options)
        report.remarks.append(f"programme: {programme.name}")
        for batch in batched(read_feedback_rows(file, report, options.zone)):
            with options.transaction(lease):
                store_rows(batch, programme, report, applies=options.applies)
                if lease:  # in the same transaction, since the import may end after any batch
                    store_verdict(programme, timezone.now(), lease)


def find_programme(file: LegacyFile, options: ImportOptions) -> BetaProgramme:
    """Return the programme by its name, or the only one that runs. The first one of a portal is created.

    It starts on the day of its first feedback, or no feedback would keep its time. Raises UnreadableFile.
    """
    try:
        return find_by_name(options.programme)
    except NoSuchProgramme:
        text = f"there is no beta programme called {options.programme}: add it first"
        raise UnreadableFile("programme_unknown", text) from None
    except NotOneProgramme as error:
        if BetaProgramme.objects.exists():
            text = f"{error.count} beta programmes run today: name one with --programme"
            raise UnreadableFile("programme_required", text) from None
    programme = BetaProgramme(name=DEFAULT, starts=first_day(file, options.zone))
    if options.applies:
        programme = BetaProgramme.objects.get_or_create(name=DEFAULT, defaults={"starts": programme.starts})[0]
    return programme


def first_day(file: LegacyFile, zone: tzinfo) -> date:
    rows = read_feedback_rows(file, ImportReport(""), zone)
    return timezone.localdate(min((payload.given_at for _number, payload in rows if payload.given_at), default=None))


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_feedback_rows(file: LegacyFile, report: ImportReport, zone: tzinfo) -> Iterator[tuple[int, FeedbackPayload]]:
    """Yield the feedback with the number of its row.

    Its id is derived from its content and how often that occurred above: a compacted database numbers its rows anew.
    """
    columns = file.tables[TABLE]
    occurrences: Counter[uuid.UUID] = Counter()
    for number, values in read_table(file.path, TABLE, columns, (*CONTENT, *PARTICIPANTS, *OPTIONAL)):
        texts = {name: read_text(value).strip() for name, value in values.items()}
        content = uuid.uuid5(NAMESPACE, json.dumps([texts[name] for name in CONTENT]))
        occurrences[content] += 1
        try:
            given_at = read_moment(values["created_at"], zone)
        except ValueError:
            report.refuse(number, BAD_TIME)
            continue
        reader = PayloadReader()
        payload = collect_feedback(reader, build_body(uuid.uuid5(content, str(occurrences[content])), texts, given_at))
        if reader.errors:
            report.refuse(number, Reason("validation_failed", f"the row isn’t valid: {describe_fields(reader.errors)}"))
        else:
            yield number, payload


def build_body(feedback_id: uuid.UUID, texts: dict[str, str], given_at: datetime | None) -> dict[str, Any]:
    """Return the row as a call of the API sends feedback. Without a participant, it counts as one of its own."""
    named = next((texts[name] for name in PARTICIPANTS if texts[name]), "")
    return {
        "id": feedback_id.hex,
        "participant": named or f"anonymous-{feedback_id.hex[:16]}",
        "type": texts["type"].lower(),
        "severity": texts["severity"].lower(),
        "nps_score": read_score(texts["nps_score"]),
        "given_at": given_at.isoformat() if given_at else None,
        **{name: texts[name] for name in ("comment", *OPTIONAL)},
    }


def read_score(text: str) -> Any:
    """Return the score, None for an empty cell. Any other text stays, and is refused as in a call."""
    return read_integer(text) if text else None


# --- Writing ---------------------------------------------------------------------------------------------------------


def store_rows(
    batch: list[tuple[int, FeedbackPayload]], programme: BetaProgramme, report: ImportReport, *, applies: bool
) -> None:
    """Insert feedback that is not stored yet. What was erased or triaged since stays as it is."""
    now = timezone.now()
    rows = {payload.feedback_id: build_feedback(payload, programme, ACTOR, now) for _number, payload in batch}
    stored = dict(BetaFeedback.objects.filter(feedback_id__in=rows).values_list("feedback_id", "digest"))
    new = [row for feedback_id, row in rows.items() if feedback_id not in stored]
    report.count("created", len(BetaFeedback.objects.insert_new(new)) if applies else len(new))
    for number, payload in batch:
        if payload.feedback_id in stored:
            if stored[payload.feedback_id] in ("", rows[payload.feedback_id].digest):
                report.count("unchanged")
            else:
                report.skip(number, OTHER_CONTENT)


legacy_kinds.register(LegacyKind("feedback", has_feedback, load_feedback))
