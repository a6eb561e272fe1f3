"""Questions asked of the ground floor's tables."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar
from uuid import UUID

from django.db import connections, models, transaction
from django.db.models import Case, Count, Exists, F, Max, OuterRef, Q, Subquery, Value, When
from django.db.models.constants import OnConflict
from django.db.models.functions import Cast, Coalesce, Concat, Now
from django.db.models.sql import InsertQuery

if TYPE_CHECKING:
    from portal import models as m


Row = TypeVar("Row", bound=models.Model)


class IdempotentQuerySet(models.QuerySet[Row]):
    """Rows with a UUID chosen by their sender, in the field `identity`: a retry does not insert them again.

    `computed` names the fields whose values the database computes on INSERT.
    """

    identity: ClassVar[str]
    computed: ClassVar[tuple[str, ...]] = ()

    def insert_new(self, rows: Sequence[Row]) -> set[UUID]:
        """Insert the rows whose identity is unknown, in one statement, and return the new identities.

        Computed fields of the new rows are set on the given objects.

        The unique constraint decides, so of twenty simultaneous senders of one run exactly one finds it new. Django's
        `bulk_create(ignore_conflicts=True)` runs the same statement, but cannot say which rows it wrote.
        """
        if not rows:
            return set()
        returned: list[Any] = [self.model._meta.get_field(name) for name in (self.identity, *self.computed)]
        by_identity = {getattr(row, self.identity): row for row in rows}
        query = InsertQuery(self.model, on_conflict=OnConflict.IGNORE)
        query.insert_values([field for field in self.model._meta.concrete_fields if not field.primary_key], list(rows))
        compiler = query.get_compiler(using=self.db)
        compiler.returning_fields = returned
        new: set[UUID] = set()
        with connections[self.db].cursor() as cursor:
            for statement, parameters in compiler.as_sql():
                cursor.execute(statement, parameters)
                for values in cursor.fetchall():
                    identity, *computed = (
                        field.to_python(value) for field, value in zip(returned, values, strict=True)
                    )
                    new.add(identity)
                    for name, value in zip(self.computed, computed, strict=True):
                        setattr(by_identity[identity], name, value)
        return new


class ApiTokenQuerySet(models.QuerySet["m.ApiToken"]):
    def usable(self, now: datetime) -> Self:
        return self.filter(revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now))

    def with_failures_from(self, address: str, failures: models.QuerySet[m.AuthFailure]) -> Self:
        """Add `had_failures`: whether the address has failed lately, so that a success knows what to reset."""
        return self.annotate(had_failures=Exists(failures.filter(address=Value(address))))

    def claim_use(self, pk: int) -> bool:
        """Count one use of a limited token; False if none is left. One UPDATE, so two callers never share a use."""
        left = Q(max_uses=None) | Q(uses__lt=F("max_uses"))
        return self.filter(left, pk=pk).update(uses=F("uses") + 1) == 1

    def revoke(self, now: datetime, reason: str) -> int:
        return self.filter(revoked_at=None).update(revoked_at=now, revoked_reason=reason)


class AuditEventQuerySet(models.QuerySet["m.AuditEvent"]):
    def count_up(self, dedupe_key: str, now: datetime, defaults: dict[str, Any]) -> None:
        """Count one more event of this key; the first inserts the row. Safe among simultaneous callers."""
        same = self.filter(dedupe_key=dedupe_key)
        if same.update(count=F("count") + 1, last_at=now):
            return
        row = self.model(dedupe_key=dedupe_key, at=now, last_at=now, count=0, **defaults)
        with transaction.atomic():
            self.bulk_create([row], ignore_conflicts=True)
            same.update(count=F("count") + 1, last_at=now)


class JobRunQuerySet(models.QuerySet["m.JobRun"]):
    def claimable(self, now: datetime, dead: Collection[str] = ()) -> Self:
        """Cycles nobody works on: new, failed, or left behind by a holder that is dead or whose lease has run out."""
        left_behind = Q(lease_expires_at__lt=now) | Q(holder__in=dead)
        return self.filter(Q(status__in=["waiting", "failed"]) | Q(left_behind, status="running"))

    def newest(self) -> Self:
        """The newest run of each job."""
        return self.filter(pk__in=self.model._default_manager.values("job").annotate(newest=Max("pk")).values("newest"))

    def superseded(self) -> Self:
        """All but the newest run of each job."""
        return self.exclude(pk__in=self.model._default_manager.newest().values("pk"))

    def ended_before(self, moment: datetime) -> Self:
        return self.filter(Q(finished_at__lt=moment) | Q(finished_at=None, lease_expires_at__lt=moment))


class TaskAttemptQuerySet(models.QuerySet["m.TaskAttempt"]):
    def running(self, cluster: str) -> Self:
        """Started, not finished, and in the hands of a process not known to be dead."""
        return self.filter(cluster=cluster, finished_at=None).exclude(worker="")

    def on_host(self, host: str) -> Self:
        return self.filter(worker__startswith=f"{host}:")

    def given_up(self) -> Self:
        """Tasks that ended their worker at each of the attempts they were allowed."""
        return self.filter(attempts__gt=self.model.MOST_ATTEMPTS)


NODE = "node:"  # what the component of a node begins with
# Whoever gives no sign of life for so long is dead: a node gives one every two seconds.
SILENCE = timedelta(seconds=10)
# Living nodes are seen again well within this time once the database is back.
SETTLING = timedelta(seconds=5)


def silent_for(every: timedelta) -> Q:
    return Q(at=None) | Q(at__lte=Now() - every) | Q(at__gt=Now())


class HeartbeatQuerySet(models.QuerySet["m.Heartbeat"]):
    def beat(self, component: str, where: str, every: timedelta = timedelta(0)) -> None:
        """Note that the component is alive, by the database's clock; not again before `every` is over.

        A beat that lies ahead was before the clock was set back.
        """
        row = self.filter(component=component)
        since = Case(When(silent_for(SILENCE) | Q(unbroken_since=None), then=Now()), default=F("unbroken_since"))
        if not row.filter(silent_for(every)).update(at=Now(), where=where, unbroken_since=since) and not row.exists():
            first = self.model(component=component, at=Now(), where=where, unbroken_since=Now())
            self.bulk_create([first], ignore_conflicts=True)

    def ask(self, component: str, silence: timedelta, pause: timedelta) -> bool:
        """Return True if the caller is to request a heartbeat: there was none, and none was requested within the pause.

        Exactly one of several concurrent callers gets True.
        """
        self.bulk_create([self.model(component=component)], ignore_conflicts=True)
        unasked = Q(asked_at=None) | Q(asked_at__lte=Now() - pause) | Q(asked_at__gt=Now())
        return self.filter(silent_for(silence), unasked, component=component).update(asked_at=Now()) == 1

    def silent_nodes(self, nodes: Iterable[str]) -> set[str]:
        """Return those of the nodes that once sent heartbeats and have sent none for SILENCE.

        After an outage of the database every node has been silent, so none is reported before one of them has sent
        heartbeats without a break for SETTLING.
        """
        settled = self.filter(~silent_for(SILENCE), component__startswith=NODE, unbroken_since__lte=Now() - SETTLING)
        silent = self.filter(silent_for(SILENCE), Exists(settled), component__in=nodes)
        return set(silent.values_list("component", flat=True))


# As `NotificationChannel.key`.
CHANNEL_KEY = Coalesce("environment_key", Concat(Value("channel:"), Cast("pk", models.CharField())))


class NotificationChannelQuerySet(models.QuerySet["m.NotificationChannel"]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def managed(self) -> Self:
        """Channels of the environment, which operators cannot change."""
        return self.exclude(environment_key=None)

    def with_states(self, states: ChannelStateQuerySet, messages: OutboxMessageQuerySet) -> Self:
        """Add each channel's state as `state_…` and its number of waiting messages as `waiting`; all with one query."""
        own = states.filter(channel=OuterRef("state_key"))
        fields = ("disabled_at", "disabled_reason", "failures", "last_success_at", "last_error")
        waiting = messages.waiting().filter(channel=OuterRef("state_key")).order_by().values("channel")
        return self.annotate(state_key=CHANNEL_KEY).annotate(
            **{f"state_{field}": Subquery(own.values(field)) for field in fields},
            waiting=Coalesce(Subquery(waiting.annotate(count=Count("pk")).values("count")), 0),
        )


class ChannelStateQuerySet(models.QuerySet["m.ChannelState"]):
    def ready(self, now: datetime) -> Self:
        """Channels that work, that nobody delivers by, and whose pause after a failure is over."""
        return self.filter(
            Q(lease_expires_at=None) | Q(lease_expires_at__lt=now),
            Q(next_attempt_at=None) | Q(next_attempt_at__lte=now),
            disabled_at=None,
        )

    def with_due_messages(self, now: datetime, messages: OutboxMessageQuerySet) -> Self:
        return self.filter(Exists(messages.due(now).filter(channel=OuterRef("channel"))))

    def ask(self, now: datetime, pause: timedelta) -> bool:
        """Return True if the caller is to enqueue a delivery. Only one is, until it begins or the pause is over."""
        unasked = Q(asked_at=None) | Q(asked_at__lt=now - pause)
        return self.ready(now).filter(unasked).update(asked_at=now) == 1

    def enable(self, **changes: Any) -> int:
        """Clear failures and disablement, so that the channels are tried again at once."""
        mended = {"disabled_at": None, "disabled_reason": "", "failures": 0, "next_attempt_at": None, "last_error": ""}
        return self.update(**mended, **changes)


class OutboxMessageQuerySet(models.QuerySet["m.OutboxMessage"]):
    def waiting(self) -> Self:
        return self.filter(status="waiting")

    def due(self, now: datetime) -> Self:
        return self.waiting().filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=now))

    def finish(self, status: str, now: datetime, error: str = "", *, attempts: int = 0) -> int:
        """End those that still wait, each once, after so many attempts more."""
        return self.waiting().update(
            status=status, finished_at=now, error=error, next_attempt_at=None, attempts=F("attempts") + attempts
        )

    def hold(self, until: datetime) -> int:
        """Postpone waiting messages until then."""
        return self.waiting().update(next_attempt_at=until)

    def recipients_waiting(self) -> set[str]:
        """Read whole: asked whether there is any of some kind, PostgreSQL would rather read the table."""
        return set(self.waiting().order_by().values_list("recipient", flat=True).distinct())

    def held(self, now: datetime) -> dict[str, datetime]:
        """Return the time until which messages are held, by recipient."""
        waiting = self.waiting().filter(next_attempt_at__gt=now).order_by()
        return dict(waiting.values_list("recipient").annotate(until=Max("next_attempt_at")))

    def batches_since(self, moment: datetime) -> dict[str, int]:
        """Count the batches that each recipient got; messages sent in one batch share their time."""
        sent = self.filter(status="sent", finished_at__gt=moment).order_by()
        return dict(sent.values_list("recipient").annotate(batches=Count("finished_at", distinct=True)))

    def try_again(self) -> int:
        """Queue unsent messages again."""
        unsent = self.exclude(status="sent")
        return unsent.update(status="waiting", finished_at=None, error="", next_attempt_at=None)

    def give_up(self, now: datetime) -> int:
        """Stop trying to send these. Their last error stays."""
        unsent = self.filter(status__in=["waiting", "failed"])
        return unsent.update(status="given_up", finished_at=now, next_attempt_at=None)

    def with_channel_names(self, channels: NotificationChannelQuerySet) -> Self:
        """Add `channel_name`, None if the channel was deleted."""
        named = channels.annotate(state_key=CHANNEL_KEY).filter(state_key=OuterRef("channel"))
        return self.annotate(channel_name=Subquery(named.values("name")))
