from datetime import timedelta

import django.core.validators
from django.db import migrations, models
from django.db.models import OuterRef, Q, Subquery

import backups.validators

DOUBTS = {"truncated_gzip", "empty", "too_small", "shrunk"}


def know_doubts(apps, schema_editor):
    """Mark the jobs whose latest backup is in doubt, and give those with days of the week more time."""
    Job, Entry = apps.get_model("backups", "ExpectedBackupJob"), apps.get_model("backups", "BackupEntry")
    Job.objects.exclude(Q(expected_frequency="daily") & Q(days_of_week="")).update(fresh_for=timedelta(days=9))
    newest = Entry.objects.filter(job=OuterRef("pk")).order_by("-cycle_at").values("pk")[:1]
    latest = Job.objects.annotate(latest=Subquery(newest)).values("latest")
    verified = Entry.objects.filter(status__in=("SUCCESS", "HASH_MISMATCH"), pk__in=latest).exclude(warnings=[])
    doubtful = [job for job, warnings in verified.values_list("job", "warnings") if DOUBTS & set(warnings)]
    Job.objects.filter(pk__in=doubtful).update(in_doubt=True)


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='backupentry',
            name='steps',
            field=models.JSONField(default=dict, verbose_name='steps'),
        ),
        migrations.AddField(
            model_name='depositarea',
            name='spellings',
            field=models.JSONField(default=list, verbose_name='variants of its reports'),
        ),
        migrations.AddField(
            model_name='depositarea',
            name='unread',
            field=models.JSONField(default=list, verbose_name='files that are not read'),
        ),
        migrations.AddField(
            model_name='expectedbackupjob',
            name='fresh_for',
            field=models.DurationField(default=timedelta(days=2), editable=False),
        ),
        migrations.AddField(
            model_name='expectedbackupjob',
            name='in_doubt',
            field=models.BooleanField(default=False, editable=False, verbose_name='suspicious'),
        ),
        migrations.AddField(
            model_name='expectedbackupjob',
            name='schedule',
            field=models.CharField(blank=True, max_length=100, validators=[backups.validators.validate_schedule], verbose_name='schedule (cron)'),
        ),
        migrations.AddField(
            model_name='expectedbackupjob',
            name='time_zone',
            field=models.CharField(default='UTC', max_length=64, validators=[backups.validators.validate_zone], verbose_name='time zone'),
        ),
        migrations.AlterField(
            model_name='expectedbackupjob',
            name='database_name',
            field=models.CharField(max_length=128, validators=[backups.validators.validate_name], verbose_name='database'),
        ),
        migrations.AlterField(
            model_name='expectedbackupjob',
            name='early_minutes',
            field=models.PositiveIntegerField(default=30, validators=[django.core.validators.MaxValueValidator(1440)], verbose_name='early (minutes)'),
        ),
        migrations.RunPython(know_doubts, migrations.RunPython.noop, elidable=True),
    ]
