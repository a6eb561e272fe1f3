"""Machines are compared without case. Of two that differ in case alone, both stay; the name means one of them."""

from itertools import groupby
from typing import Any

from django.db import migrations, models
from django.db.models import Count
from django.db.models.functions import Lower


def settle_names(apps: Any, schema_editor: Any) -> None:
    """The active machine has the name, of several the one enrolled last."""
    agents = apps.get_model("agents", "Agent").objects.order_by()
    shared = agents.values("name").annotate(machines=Count("pk")).filter(machines__gt=1).values("name")
    for _, alike in groupby(agents.filter(name__in=shared).order_by("name"), lambda agent: agent.name):
        first, *others = sorted(alike, key=lambda agent: (agent.status != "active", -agent.enrolled_at.timestamp()))
        agents.filter(pk__in=[agent.pk for agent in others]).update(owns_name=False)


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial")]

    operations = [
        migrations.AddField(
            "agent",
            "name",
            models.GeneratedField(
                db_persist=True, expression=Lower("machine_id"), output_field=models.CharField(max_length=128)
            ),
        ),
        migrations.AddField("agent", "owns_name", models.BooleanField(default=True, editable=False)),
        migrations.RunPython(settle_names, migrations.RunPython.noop),
    ]
