"""A paginator that never counts millions of rows.

The count is exact up to CAP, found by reading one row more at most. Beyond, a list without conditions shows the
database's own estimate and one with conditions "10,000+". Pages lead as far as the cap and no further: OFFSET reads all
that it skips, so whoever looks deeper wants a filter or a search.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db import connections, models
from django.utils.functional import cached_property

from portal.base.words import format_count

if TYPE_CHECKING:
    BasePaginator = Paginator[Any]
else:
    BasePaginator = Paginator

CAP = 10_000


class CappedPaginator(BasePaginator):
    object_list: models.QuerySet[Any]

    @cached_property
    def count(self) -> int:
        """How many there are; CAP + 1 stands for more than CAP."""
        return self.object_list.order_by().values("pk")[: CAP + 1].count()

    @property
    def is_capped(self) -> bool:
        return self.count > CAP

    @cached_property
    def num_pages(self) -> int:
        return max(1, math.ceil(min(self.count, CAP) / self.per_page))

    @cached_property
    def shown_count(self) -> str:
        """The count as a person reads it: exact, estimated (≈), or that there are more."""
        if not self.is_capped:
            return format_count(self.count)
        estimate = 0 if self.object_list.query.where else estimated_rows(self.object_list)
        return f"≈ {format_count(estimate)}" if estimate > CAP else f"{format_count(CAP)}+"


def estimated_rows(rows: models.QuerySet[Any]) -> int:
    """About how many rows the table holds, in less than a millisecond."""
    connection = connections[rows.db]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)",
                [connection.ops.quote_name(rows.model._meta.db_table)],
            )
            row = cursor.fetchone()
        return int(row[0]) if row else 0
    ids = rows.order_by("pk").values_list("pk", flat=True)
    first, last = ids.first(), ids.last()
    return 0 if first is None or last is None else last - first + 1
