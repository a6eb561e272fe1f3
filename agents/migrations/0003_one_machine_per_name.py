"""One machine owns a name. Apart from the fields: PostgreSQL indexes no table in the transaction that changed its rows."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0002_names_without_case")]

    operations = [
        migrations.AddIndex(
            "agent", models.Index(fields=["name"], name="agent_name", opclasses=["varchar_pattern_ops"])
        ),
        migrations.AddIndex(
            "agent",
            models.Index(condition=models.Q(owns_name=False), fields=["-id"], name="agent_without_name"),
        ),
        migrations.AddConstraint(
            "agent",
            models.UniqueConstraint(
                condition=models.Q(owns_name=True), fields=("name",), name="one_agent_per_name"
            ),
        ),
    ]
