"""Personal data in monitoring: who acknowledged an incident or has it, and who wrote its cause."""

from collections.abc import Iterator
from functools import reduce
from operator import or_

from django.db.models import OuterRef, Q, Subquery
from django.utils.translation import gettext as _

from monitoring.models import Incident, IncidentEvent, MaintenanceWindow, Target
from portal.privacy import PersonalDataTable, Row, Subject, own, personal_data

# Configuration that checks depend on: it is reported instead of erased.
CONFIGURED = ("url", "contains", "json_value", "header_value")


def without_cause(incident: Incident, subject: Subject, pseudonym: str) -> Row:
    """Erase the cause if the subject noted it last, and the comment with which the subject acknowledged it."""
    noted = incident.timeline.filter(kind=IncidentEvent.Kind.NOTED).last()
    cause: Row = {"cause": ""} if noted is not None and subject.is_named(noted.actor) else {}
    return cause | ({"comment": ""} if subject.is_named(incident.acknowledged_by) else {})


def last_noted_by(subject: Subject) -> Q | None:
    """Find incidents whose cause the subject wrote, even if the text does not name them."""
    noted = IncidentEvent.objects.filter(incident=OuterRef("pk"), kind=IncidentEvent.Kind.NOTED).order_by("-pk")
    actors = subject.written_as(IncidentEvent.objects.all(), "actor")
    its = Incident.objects.annotate(noted_by=Subquery(noted.values("actor")[:1])).filter(noted_by__in=actors)
    return Q(pk__in=its.order_by().values("pk")) if actors else None


def noted_or_assigned(subject: Subject) -> Q | None:
    found = [q for q in (last_noted_by(subject), own.refers_to_users("assignee")(subject)) if q is not None]
    return reduce(or_, found) if found else None


def without_text(event: IncidentEvent, subject: Subject, pseudonym: str) -> Row:
    return {"text": ""} if subject.is_named(event.actor) else {}


def target_remarks(subject: Subject) -> Iterator[str]:
    for target in Target.objects.order_by("pk"):
        if any(subject.is_in(getattr(target, name)) for name in CONFIGURED):
            text = _("The check of target %(number)d contains the name: change it in the admin.")
            yield text % {"number": target.pk}


personal_data.register(
    PersonalDataTable(Target, texts=("name", "last_detail"), elsewhere=CONFIGURED, remarks=target_remarks)
)
personal_data.register(PersonalDataTable(MaintenanceWindow, texts=("name",)))
# Events say who wrote a cause, so they come first and are erased last.
personal_data.register(
    PersonalDataTable(IncidentEvent, names=("actor",), texts=("detail",), written=("text",), also=without_text)
)
personal_data.register(
    PersonalDataTable(
        Incident,
        names=("acknowledged_by",),
        texts=("subject", "detail", "facts"),
        written=("cause", "comment"),
        owned=noted_or_assigned,
        also=without_cause,
    )
)
