from django.db import migrations

from backups import cycles


def measure_again(apps, schema_editor):
    """Let verified backups protect for long grace periods too."""
    Job = apps.get_model("backups", "ExpectedBackupJob")
    for job in Job.objects.iterator():
        fresh_for = cycles.freshness_period(job)
        if job.fresh_for != fresh_for:
            Job.objects.filter(pk=job.pk).update(fresh_for=fresh_for)


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0004_plain_words'),
    ]

    operations = [
        migrations.RunPython(measure_again, migrations.RunPython.noop, elidable=True),
    ]
