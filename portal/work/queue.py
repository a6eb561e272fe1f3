"""Work for the clusters: what is registered here by name can be enqueued, and `run` is what every worker calls.

A queued task is a pickle of a name and plain arguments, so that it survives a new version of the portal.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import DatabaseError
from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import BadSignature, SignedPackage
from django_q.tasks import async_task

from portal.base.conventions import Collected
from portal.base.failures import error_line
from portal.models import TaskAttempt
from portal.work import attempts
from portal.work.attempts import Delivery, Start
from portal.work.clusters import Cluster, cluster_limits
from portal.work.schedules import RUN, jobs, run_cycle

log = logging.getLogger("vigie.tasks")
Body = Callable[..., object]
# Of the arguments as JSON: a task must fit into a pipe, or a worker that is stopped would hang its whole cluster.
MOST_CHARACTERS = 16_384


@dataclass(frozen=True)
class Task:
    """`is_routine` tasks come by the thousand and leave no trace for long where they went well."""

    name: str
    body: Body
    is_routine: bool = False


tasks: Collected[Task] = Collected("tasks")


def task(name: str, *, is_routine: bool = False) -> Callable[[Body], Body]:
    """Register a function of an app's `tasks.py`. The name stands in the queue: it must never change."""

    def registering(body: Body) -> Body:
        tasks.register(Task(name, body, is_routine))
        return body

    return registering


class TaskFailed(Exception):
    """A task's failure as django-q2 sees it. It keeps the text, so the text is one redacted line."""


def enqueue(name: str, *args: Any, cluster: Cluster = "quick") -> str:
    """Queue the task in the caller's transaction and return its id. `args` are what JSON keeps as it is.

    It is started at least once, and not again once it returned or raised. Raises ValueError above MOST_CHARACTERS.
    """
    find_body(name)
    if len(json.dumps(args)) > MOST_CHARACTERS:
        raise ValueError(f"the arguments of {name!r} are longer than {MOST_CHARACTERS} characters")
    if json.loads(json.dumps(args)) != list(args):
        raise TypeError(f"the arguments of {name!r} are not plain JSON")
    # TaskAttempt is the record of what ran; django-q2 keeps those that failed.
    options = {"cluster": cluster, "task_name": name, "save": False}
    return str(async_task(RUN, name, *args, q_options=options))


def queued_calls(name: str, *, claimed: bool = False) -> list[tuple[Any, ...]]:
    """Return the arguments of queued calls of the task: those that no cluster has claimed, or all that have not ended.

    What a killed worker had in hand has not ended: it is given to another.
    """
    rows = OrmQ.objects.all() if claimed else OrmQ.objects.filter(lock__lte=timezone.now())
    calls = {
        call["id"]: tuple(call["args"][1:]) for call in map(unpack_payload, rows) if call.get("args", ())[:1] == (name,)
    }
    if claimed:
        ended = TaskAttempt.objects.filter(task_id__in=calls, finished_at__isnull=False)
        for task_id in ended.values_list("task_id", flat=True):
            del calls[task_id]
    return list(calls.values())


def claim_task(cluster: Cluster, now: datetime) -> dict[str, Any] | None:
    """Claim the oldest waiting task of the cluster, and return it as a worker takes it; None if there is none."""
    waiting = OrmQ.objects.filter(key=cluster, lock__lt=now).order_by("pk")
    while row := waiting.first():
        lock = now + cluster_limits(cluster).retry
        if not OrmQ.objects.filter(pk=row.pk, lock=row.lock).update(lock=lock):
            continue  # another node has it
        if package := unpack_payload(row):
            return package | {"cluster": cluster, "ack_id": row.pk, "lock": lock}
        log.error("a queued task was signed with another secret, and is deleted")
        row.delete()
    return None


def give_back(package: dict[str, Any], now: datetime) -> None:
    """Let any worker claim a task at once whose worker has ended. Its lock is another if that worker had begun it."""
    OrmQ.objects.filter(pk=package["ack_id"], lock=package["lock"]).update(lock=now)


def unpack_payload(row: OrmQ) -> dict[str, Any]:
    """Return the call in a queue row; empty if it was signed with another secret, when no worker takes it either."""
    try:
        return dict(SignedPackage.loads(row.payload))
    except (BadSignature, TypeError):
        return {}


def run(name: str, *args: Any) -> None:
    """Run a task; called by every worker. Raises TaskFailed, whatever went wrong."""
    delivery = Delivery(attempts.current_package.get(), name)
    if begin_attempt(delivery):
        run_attempt(delivery, *args)


def begin_attempt(delivery: Delivery) -> bool:
    """Count the attempt, and return True if the body is to run now. Raises TaskFailed for a task that was given up."""
    now = timezone.now()
    try:
        if attempts.cluster_is_ending.get()():
            delivery.give_back(now)
            return False
        start = attempts.start_attempt(delivery, now)
    except DatabaseError as error:
        delivery.keep_queued()
        raise TaskFailed(error_line(error)) from None
    if start is Start.GIVEN_UP:
        attempts.finish_attempt(delivery, now, "given up: each attempt ended its worker")
        raise TaskFailed("given up")
    if start is Start.RUNNING:
        delivery.keep_queued()
    return start is Start.GO


def run_attempt(delivery: Delivery, *args: Any) -> None:
    """Run the body and store how it ended. A timeout or sys.exit() in it is a failure like any other."""
    try:
        find_body(delivery.name)(*args)
    except BaseException as error:
        log.exception("task %s failed", delivery.name)
        attempts.finish_attempt(delivery, timezone.now(), error_line(error))
        raise TaskFailed(error_line(error)) from None
    attempts.finish_attempt(delivery, timezone.now())


def find_body(name: str) -> Body:
    """Return a task's body. A periodic job is a task too, which runs its current cycle. Raises LookupError."""
    for registered in tasks.all():
        if registered.name == name:
            return registered.body
    for job in jobs.all():
        if job.name == name:
            return lambda: run_cycle(job)
    raise LookupError(f"no task is registered as {name!r}")
