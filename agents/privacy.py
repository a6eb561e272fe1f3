"""Personal data of machines: their users, their names, and their audit events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from agents.enrolment import machine_subject
from agents.models import Agent, EnrolmentRequest, MachineToken
from portal.models import ApiToken, AuditEvent
from portal.privacy import PersonalDataTable, Row, Subject, personal_data

PERSONAL = ("user_name", "user_email", "user_id", "hostname")


def agents_of(subject: Subject) -> QuerySet[Agent]:
    """Select the machine of this id, or the machines with the person's e-mail address, which is indexed."""
    if subject.is_machine:
        return Agent.objects.filter(subject.is_in_column("machine_id"))
    return Agent.objects.filter(user_email__in=subject.written_as(Agent.objects.all(), "user_email"))


def anonymize_agent(agent: Agent, subject: Subject, pseudonym: str) -> Row:
    """Remove a person from their machine, or erase the machine, which is then uninstalled.

    If there is an address, it alone identifies the person: user names are arbitrary.
    """
    if subject.is_machine_called(agent.machine_id):
        # Of two machines that differ only in case, the one that does not own the name gets its own pseudonym.
        renamed = {} if agent.owns_name else {"machine_id": f"{pseudonym}-{agent.pk}"}
        erased: Row = dict.fromkeys((*PERSONAL, "uninstall_reason", "enrollment_id"), "") | renamed
        if agent.is_active:
            erased |= {"status": Agent.Status.UNINSTALLED, "uninstalled_at": timezone.now(), "reenrolment_until": None}
        return erased
    identifying = ("user_email",) if agent.user_email else ("user_name", "user_id")
    if any(subject.is_named(getattr(agent, name)) for name in identifying):
        return {"user_name": "", "user_email": pseudonym, "user_id": "", "hostname": "", "uninstall_reason": ""}
    return {}


def machine_tokens(subject: Subject) -> Q | None:
    return subject.is_in_column("machine__agent__machine_id") if subject.is_machine else None


def revoke_machine_token(token: ApiToken, subject: Subject, pseudonym: str) -> Row:
    is_to_revoke = subject.is_machine and token.revoked_at is None and hasattr(token, "machine")
    return {"revoked_at": timezone.now(), "revoked_reason": "erased"} if is_to_revoke else {}


def clear_address(waiting: EnrolmentRequest, subject: Subject, pseudonym: str) -> Row:
    return {"address": ""} if subject.is_machine_called(waiting.machine_id) else {}


class MachineAuditEvents(PersonalDataTable):
    """Audit events of a person's machines, even those without the address. They are anonymized, but not exported."""

    def rows(self, subject: Subject) -> Iterator[tuple[Any, Row]]:
        return iter(())


def machine_events(subject: Subject) -> Q | None:
    subjects = [machine_subject(machine_id) for machine_id in agents_of(subject).values_list("machine_id", flat=True)]
    return Q(subject__in=subjects, action__begins="agent.") if subjects else None


def anonymize_event(event: AuditEvent, subject: Subject, pseudonym: str) -> Row:
    return {"before": anonymize_values(event.before, subject), "after": anonymize_values(event.after, subject)}


def anonymize_values(values: Any, subject: Subject) -> Any:
    """Clear the personal fields, unless they are of another person."""
    if not isinstance(values, dict):
        return values
    is_other = not subject.is_machine and values.get("user_email") and not subject.is_named(values["user_email"])
    personal = (*PERSONAL, "reason") if not is_other else ()
    return values | {name: "" for name in personal if values.get(name)}


# Registered first and therefore erased last: machines tell which audit events to look for.
personal_data.register(
    PersonalDataTable(
        Agent,
        names=("user_email",),
        machines=("machine_id",),
        texts=("user_name", "user_id", "hostname", "os_info", "uninstall_reason", "enrollment_id", "license_ref"),
        indexed=("machine_id", "user_email"),
        also=anonymize_agent,
    )
)
personal_data.register(PersonalDataTable(EnrolmentRequest, machines=("machine_id",), also=clear_address))
personal_data.register(PersonalDataTable(MachineToken, owned=lambda subject: Q(agent__in=agents_of(subject))))
personal_data.register(
    PersonalDataTable(ApiToken, owned=machine_tokens, also=revoke_machine_token, searched=lambda subject: ())
)
personal_data.register(
    MachineAuditEvents(AuditEvent, owned=machine_events, also=anonymize_event, searched=lambda subject: ())
)
