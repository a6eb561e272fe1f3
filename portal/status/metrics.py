"""Prometheus metrics, from each app's `metrics.py`. All of them are read from the database when they are scraped, so
every web process tells the same, and each source takes a fixed number of queries that an index serves.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q, Sum
from django_q.models import OrmQ
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from portal.base import disks
from portal.base.conventions import Collected
from portal.models import ApiToken, AuthFailure, ChannelState, Heartbeat, JobRun, OutboxMessage
from portal.notifications.configuration import active_channels
from portal.querysets import NODE
from portal.work.clusters import CLUSTERS

MetricSource = Callable[[datetime], Iterable[Metric]]
metric_sources: Collected[MetricSource] = Collected("metrics")

FAILURES_SHOWN = timedelta(hours=1)


class AllSources(Collector):
    def __init__(self, now: datetime) -> None:
        self.now = now

    def collect(self) -> Iterator[Metric]:
        for source in metric_sources.all():
            yield from source(self.now)


def render_metrics(now: datetime) -> bytes:
    """Return the metrics in the Prometheus text format 0.0.4. Raises DatabaseError."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(AllSources(now))
    return generate_latest(registry)


def gauge(name: str, text: str, label: str, values: Mapping[Any, float]) -> Metric:
    """Return a gauge with one value for each value of the label."""
    family = GaugeMetricFamily(f"vigie_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def single_gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"vigie_{name}", text, value=value)


def counter(name: str, text: str, value: float) -> Metric:
    """Return a counter, which never goes down. Its name on the wire ends in _total."""
    return CounterMetricFamily(f"vigie_{name}", text, value=value)


# --- The portal's own ------------------------------------------------------------------------------------------------


@metric_sources.register
def queue_metrics(now: datetime) -> Iterator[Metric]:
    waiting, claimed = Q(lock__lte=now), Q(lock__gt=now)
    rows = OrmQ.objects.values("key").annotate(
        waiting=Count("pk", filter=waiting), claimed=Count("pk", filter=claimed), since=Min("lock", filter=waiting)
    )
    by_cluster = {row["key"]: row for row in rows}
    depth = {name: by_cluster[name]["waiting"] if name in by_cluster else 0 for name in CLUSTERS}
    taken = {name: by_cluster[name]["claimed"] if name in by_cluster else 0 for name in CLUSTERS}
    oldest = {name: age_seconds(by_cluster[name]["since"], now) if name in by_cluster else 0 for name in CLUSTERS}
    yield gauge("queue_waiting", "Tasks that no cluster has claimed yet.", "cluster", depth)
    yield gauge("queue_claimed", "Tasks claimed by a cluster and not ended.", "cluster", taken)
    yield gauge("queue_oldest_seconds", "How long the oldest unclaimed task has waited.", "cluster", oldest)


def age_seconds(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0


@metric_sources.register
def heartbeat_metrics(now: datetime) -> Iterator[Metric]:
    seen = Heartbeat.objects.exclude(at=None).exclude(component__startswith=NODE).values_list("component", "at")
    ages = {component: age_seconds(at, now) for component, at in seen}
    yield gauge("beat_age_seconds", "Since the part of the portal last showed that it works.", "component", ages)


@metric_sources.register
def disk_space(now: datetime) -> Iterator[Metric]:
    by_name = {name: disk for name, folder in disks.watched_folders().items() if (disk := disks.find_disk(folder))}
    free = {name: disk.free for name, disk in by_name.items()}
    yield gauge("disk_free_bytes", "Free space of the file system that the folder lies on.", "folder", free)
    size = {name: disk.size for name, disk in by_name.items()}
    yield gauge("disk_size_bytes", "Size of the file system that the folder lies on.", "folder", size)


@metric_sources.register
def job_runs(now: datetime) -> Iterator[Metric]:
    counts = dict(JobRun.objects.order_by().values_list("status").annotate(Count("pk")))
    values = {status: counts.get(status, 0) for status in JobRun.Status.values}
    yield gauge("job_runs", "Cycles of periodic jobs kept in the database, by how they stand.", "status", values)


@metric_sources.register
def token_metrics(now: datetime) -> Iterator[Metric]:
    counts = dict(ApiToken.objects.usable(now).order_by().values_list("kind").annotate(Count("pk")))
    values = {kind: counts.get(kind, 0) for kind in ApiToken.Kind.values}
    yield gauge("tokens", "Tokens neither revoked nor expired.", "kind", values)


@metric_sources.register
def auth_failures(now: datetime) -> Iterator[Metric]:
    recent = AuthFailure.objects.filter(window_started_at__gt=now - FAILURES_SHOWN)
    sums = recent.aggregate(failures=Sum("count"), addresses=Count("pk"))
    text = "Failed authentications of the last hour that no success of the same address has followed."
    yield single_gauge("auth_failures", text, sums["failures"] or 0)
    yield single_gauge("auth_failing_addresses", "Addresses they came from.", sums["addresses"])


@metric_sources.register
def message_metrics(now: datetime) -> Iterator[Metric]:
    """A channel that was deleted or taken from the environment still shows as long as messages wait for it."""
    rows = OutboxMessage.objects.waiting().order_by().values("channel")
    by_channel = {row["channel"]: row for row in rows.annotate(waiting=Count("pk"), since=Min("created_at"))}
    channels = [channel.key for channel in active_channels()]
    disabled = ChannelState.objects.filter(channel__in=channels).exclude(disabled_at=None)
    is_disabled = set(disabled.values_list("channel", flat=True))
    keys = dict.fromkeys([*channels, *by_channel])
    waiting = {key: by_channel[key]["waiting"] if key in by_channel else 0 for key in keys}
    oldest = {key: age_seconds(by_channel[key]["since"], now) if key in by_channel else 0 for key in keys}
    yield gauge("outbox_waiting", "Messages that were not sent yet.", "channel", waiting)
    yield gauge("outbox_oldest_seconds", "How long the oldest of them has waited.", "channel", oldest)
    yield gauge(
        "channel_disabled",
        "1 where a failure that nobody has mended yet has disabled the channel.",
        "channel",
        {key: float(key in is_disabled) for key in channels},
    )
