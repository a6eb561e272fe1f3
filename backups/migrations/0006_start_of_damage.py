from django.db import migrations, models
from django.db.models import F


def begin_at_the_last_check(apps, schema_editor):
    """Date known damage: earlier re-verifications are not stored."""
    Job = apps.get_model("backups", "ExpectedBackupJob")
    Job.objects.filter(damage__isnull=False).update(damaged_since=F("reverified_at"))


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0005_grace_periods'),
    ]

    operations = [
        migrations.AddField(
            model_name='expectedbackupjob',
            name='damaged_since',
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunPython(begin_at_the_last_check, migrations.RunPython.noop, elidable=True),
    ]
