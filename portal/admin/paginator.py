"""Pagination that never counts millions of rows.

Counts are exact up to CAP, by reading at most one row more. Above it, an unfiltered list shows the database's estimate
and a filtered one "10,000+". Pages end at the cap, because OFFSET reads all rows that it skips: to look further, filter
or search.
"""

import math
from typing import Any

from django.core.paginator import Paginator
from django.db import connections, models
from django.utils.functional import cached_property

from portal.base.words import format_count

CAP = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    object_list: models.QuerySet[Any]

    @cached_property
    def count(self) -> int:
        """Count the rows; CAP + 1 means more than CAP."""
        return self.object_list.order_by().values("pk")[: CAP + 1].count()

    @property
    def is_capped(self) -> bool:
        return self.count > CAP

    @cached_property
    def num_pages(self) -> int:
        return max(1, math.ceil(min(self.count, CAP) / self.per_page))

    @cached_property
    def shown_count(self) -> str:
        """Return the count for display: exact, estimated (≈), or `10,000+`."""
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
