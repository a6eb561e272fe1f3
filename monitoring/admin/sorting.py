"""Database expressions by which the list of targets is sorted. There are some thousand targets at most."""

from datetime import timedelta
from typing import Any

from django.db.models import Case, FloatField, IntegerField, OuterRef, Subquery, Sum, Value, When
from django.db.models.functions import Cast, Now, NullIf

from monitoring.models import Rollup, Target

State = Target.State
WORST_FIRST = (State.DOWN, State.UNSTABLE, State.FAILING, State.SLOW, State.UNKNOWN, State.UP)


def worst_first() -> Case:
    """Return the rank of a target's state; paused targets come last."""
    ranks = [When(is_active=False, then=Value(len(WORST_FIRST)))]
    ranks += [When(state=state, then=Value(rank)) for rank, state in enumerate(WORST_FIRST)]
    return Case(*ranks, default=Value(len(WORST_FIRST)), output_field=IntegerField())


def uptime_of_days(days: int) -> Subquery:
    """Return the share of good checks from 0 to 1 over the last days, or NULL without checks."""
    rollups: Any = Rollup.objects.filter(
        target=OuterRef("pk"), period=Rollup.Period.DAY, start__gte=Now() - timedelta(days=days)
    )
    failed = Cast(Sum("failures"), FloatField()) / NullIf(Sum("checks"), Value(0))
    shares = rollups.order_by().values("target").annotate(share=Value(1.0) - failed).values("share")
    return Subquery(shares, output_field=FloatField())
