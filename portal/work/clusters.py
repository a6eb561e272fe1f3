"""The two django-q2 clusters: *quick* for short work, *slow* for long, so that a long task starves nobody."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from django.conf import settings

Cluster = Literal["quick", "slow"]
CLUSTERS: tuple[Cluster, ...] = get_args(Cluster)


@dataclass(frozen=True)
class Limits:
    """`timeout` ends a task that runs too long; a claimed task comes back `retry` after its clock was last set."""

    workers: int
    timeout: timedelta
    retry: timedelta


def cluster_limits(cluster: str) -> Limits:
    conf: Any = settings.Q_CLUSTER
    options = conf["ALT_CLUSTERS"][cluster]
    return Limits(options["workers"], timedelta(seconds=options["timeout"]), timedelta(seconds=options["retry"]))
