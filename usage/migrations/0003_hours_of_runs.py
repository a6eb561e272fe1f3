"""Gives the runs that are there already the hour they belong to, as `usage.ingest` does for new ones."""

from datetime import UTC

from django.db import migrations, models
from django.db.models import F, Max
from django.db.models.functions import Coalesce, Least, TruncHour

AT_A_TIME = 100_000


def fill(apps, schema_editor):
    runs = apps.get_model("usage", "Run").objects.all()
    highest = runs.aggregate(highest=Max("pk"))["highest"] or 0
    # Least() is null on SQLite where one is, and the other one on PostgreSQL.
    happened = Coalesce(Least("started_at", "received_at"), F("received_at"))
    for first in range(0, highest + 1, AT_A_TIME):
        some = runs.filter(pk__gte=first, pk__lt=first + AT_A_TIME)
        some.update(hour=TruncHour(happened, tzinfo=UTC, output_field=models.DateTimeField()))


class Migration(migrations.Migration):
    dependencies = [("usage", "0002_licences_and_activity")]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=True),
        migrations.AlterField("run", "hour", models.DateTimeField(editable=False, verbose_name="hour")),
    ]
