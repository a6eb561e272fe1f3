"""What machines hold of a subject: who uses them, and what they are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.enrolment import subject as subject_of_machine
from agents.models import Agent, EnrolmentRequest, MachineToken
from portal.models import ApiToken, AuditEvent
from portal.privacy import PersonalDataTable, Row, Subject, personal_data

PERSONAL = ("user_name", "user_email", "user_id", "hostname")


def agents_of(subject: Subject) -> QuerySet[Agent]:
    """The machine itself, or those a person uses; these are told by the indexed address alone."""
    if subject.is_machine:
        return Agent.objects.filter(subject.is_in_column("machine_id"))
    return Agent.objects.filter(user_email__in=subject.written_as(Agent.objects.all(), "user_email"))


def of_nobody(agent: Agent, subject: Subject, pseudonym: str) -> Row:
    """Of a person's machine all goes that says whose it is; a machine that is itself erased counts as uninstalled.

    Where there is an address, it alone says whose it is: people log in to machines by any word.
    """
    if subject.is_machine_called(agent.machine_id):
        # Of two machines that differ in case alone, the one that does not own the name takes a pseudonym of its own.
        alone = {} if agent.owns_name else {"machine_id": f"{pseudonym}-{agent.pk}"}
        return dict.fromkeys((*PERSONAL, "uninstall_reason", "enrollment_id"), "") | uninstalled(agent) | alone
    tell = ("user_email",) if agent.user_email else ("user_name", "user_id")
    if any(subject.is_named(getattr(agent, name)) for name in tell):
        return {"user_name": "", "user_email": pseudonym, "user_id": "", "hostname": "", "uninstall_reason": ""}
    return {}


def uninstalled(agent: Agent) -> Row:
    gone = {"status": Agent.Status.UNINSTALLED, "uninstalled_at": timezone.now(), "reenrolment_until": None}
    return gone if agent.is_active else {}


def its_tokens(subject: Subject) -> Q | None:
    return subject.is_in_column("machine__agent__machine_id") if subject.is_machine else None


def revoked(token: ApiToken, subject: Subject, pseudonym: str) -> Row:
    its = subject.is_machine and token.revoked_at is None and hasattr(token, "machine")
    return {"revoked_at": timezone.now(), "revoked_reason": "erased"} if its else {}


def without_its_address(asked: EnrolmentRequest, subject: Subject, pseudonym: str) -> Row:
    return {"address": ""} if subject.is_machine_called(asked.machine_id) else {}


class TrailOfMachines(PersonalDataTable):
    """Enrolments say whose a machine is, also where they leave the address out that is known already."""

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        return iter(())


def about_machines(subject: Subject) -> Q | None:
    about = [subject_of_machine(machine_id) for machine_id in agents_of(subject).values_list("machine_id", flat=True)]
    return Q(subject__in=about, action__begins="agent.") if about else None


def without_person(event: AuditEvent, subject: Subject, pseudonym: str) -> Row:
    return {"before": anonymous(event.before, subject), "after": anonymous(event.after, subject)}


def anonymous(values: Any, subject: Subject) -> Any:
    """Without what says whose it is, unless that is somebody else."""
    if not isinstance(values, dict):
        return values
    other = not subject.is_machine and values.get("user_email") and not subject.is_named(values["user_email"])
    personal = (*PERSONAL, "reason") if not other else ()
    return values | {name: "" for name in personal if values.get(name)}


# Machines first: they say what to look for in the trail, and are erased last.
personal_data.register(
    PersonalDataTable(
        Agent,
        names=("user_email",),
        machines=("machine_id",),
        texts=("user_name", "user_id", "hostname", "os_info", "uninstall_reason", "enrollment_id", "license_ref"),
        indexed=("machine_id", "user_email"),
        also=of_nobody,
    )
)
personal_data.register(PersonalDataTable(EnrolmentRequest, machines=("machine_id",), also=without_its_address))
personal_data.register(PersonalDataTable(MachineToken, owned=lambda subject: Q(agent__in=agents_of(subject))))
personal_data.register(PersonalDataTable(ApiToken, owned=its_tokens, also=revoked, searched=lambda subject: ()))
personal_data.register(
    TrailOfMachines(AuditEvent, owned=about_machines, also=without_person, searched=lambda subject: ())
)
