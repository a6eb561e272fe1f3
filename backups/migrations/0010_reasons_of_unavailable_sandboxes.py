from django.db import migrations, models


def forget_sandboxes(apps, schema_editor):
    """Delete what was written as a text: a sandbox that is still unavailable is found again within the hour."""
    apps.get_model("backups", "DrillSandbox").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("backups", "0009_restore_drills")]

    operations = [
        migrations.RunPython(forget_sandboxes, migrations.RunPython.noop),
        migrations.RemoveField("drillsandbox", "trouble"),
        migrations.AddField("drillsandbox", "trouble", models.JSONField(verbose_name="problem", default=dict)),
    ]
