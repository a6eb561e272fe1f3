import beta.feedback.origins
import beta.models
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models

MOVED = ['betafeedback', 'betaprogramme', 'betasnapshot', 'feedbacktag', 'feedbackwindow']
COPY = """
    INSERT INTO beta_programmetarget (target_id, programme_id)
    SELECT id, beta_programme_id FROM monitoring_target WHERE beta_programme_id IS NOT NULL
"""
COPY_BACK = """
    UPDATE monitoring_target SET beta_programme_id =
        (SELECT programme_id FROM beta_programmetarget WHERE target_id = monitoring_target.id)
"""


def relabel(old, new):
    """Keep permissions and the admin's log, which refer to content types: `migrate` would make new ones when it ends."""

    def run(apps, schema_editor):
        ContentType = apps.get_model('contenttypes', 'ContentType')
        rows = ContentType.objects.using(schema_editor.connection.alias)
        rows.filter(app_label=old, model__in=MOVED).update(app_label=new)
        ContentType.objects.clear_cache()

    return run


class Migration(migrations.Migration):
    """Take the beta's tables over from `monitoring`; only the link between targets and programmes gets a new one."""

    dependencies = [
        ('contenttypes', '0002_remove_content_type_name'),
        ('monitoring', '0005_unstable_targets_and_watch_leases'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='BetaProgramme',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('name', models.CharField(max_length=100, unique=True, verbose_name='name')),
                        ('product', models.CharField(blank=True, max_length=100, verbose_name='product')),
                        ('starts', models.DateField(default=django.utils.timezone.localdate, verbose_name='starts')),
                        ('ends', models.DateField(blank=True, null=True, verbose_name='ends')),
                        ('participants_target', models.PositiveIntegerField(default=5, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(1000000)], verbose_name='participants')),
                        ('score_target', models.DecimalField(decimal_places=2, default=7, max_digits=4, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(10)], verbose_name='average score')),
                        ('latency_target_ms', models.PositiveIntegerField(default=500, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(30000)], verbose_name='latency (ms)')),
                        ('error_percent_target', models.DecimalField(decimal_places=2, default=1, max_digits=5, validators=[django.core.validators.MinValueValidator(Decimal('0.01')), django.core.validators.MaxValueValidator(100)], verbose_name='error rate (%)')),
                        ('public_key', models.CharField(default=beta.models.new_key, editable=False, max_length=22, unique=True, verbose_name='public key')),
                        ('takes_public', models.BooleanField(default=True, verbose_name='takes feedback by its public key')),
                        ('allowed_origins', models.TextField(blank=True, validators=[beta.feedback.origins.refuse_bad_origins], verbose_name='allowed origins')),
                        ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                    ],
                    options={
                        'verbose_name': 'beta programme',
                        'verbose_name_plural': 'beta programmes',
                        'db_table': 'monitoring_betaprogramme',
                        'ordering': ['-starts', '-id'],
                        'permissions': [('export_betaprogramme', 'Can export beta programmes and their reports')],
                    },
                ),
                migrations.CreateModel(
                    name='FeedbackTag',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('name', models.CharField(max_length=40, unique=True, verbose_name='tag')),
                    ],
                    options={
                        'verbose_name': 'tag',
                        'verbose_name_plural': 'tags',
                        'db_table': 'monitoring_feedbacktag',
                        'ordering': ['name'],
                        'default_permissions': (),
                    },
                ),
                migrations.CreateModel(
                    name='FeedbackWindow',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('window_started_at', models.DateTimeField()),
                        ('count', models.PositiveIntegerField()),
                        ('key', models.CharField(max_length=64, unique=True)),
                    ],
                    options={
                        'verbose_name': 'feedback that was counted',
                        'verbose_name_plural': 'feedback that was counted',
                        'db_table': 'monitoring_feedbackwindow',
                        'default_permissions': (),
                    },
                ),
                migrations.CreateModel(
                    name='BetaSnapshot',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('taken_at', models.DateTimeField(verbose_name='taken')),
                        ('verdict', models.CharField(max_length=20, verbose_name='verdict')),
                        ('reason', models.CharField(choices=[('exported', 'exported'), ('command', 'command line'), ('verdict', 'the verdict changed'), ('closed', 'the programme ended')], max_length=8, verbose_name='why')),
                        ('taken_by', models.CharField(blank=True, max_length=150, verbose_name='by')),
                        ('data', models.JSONField(verbose_name='report')),
                        ('programme', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='snapshots', to='beta.betaprogramme', verbose_name='programme')),
                    ],
                    options={
                        'verbose_name': 'beta report',
                        'verbose_name_plural': 'beta reports',
                        'db_table': 'monitoring_betasnapshot',
                        'ordering': ['-id'],
                        'permissions': [('export_betasnapshot', 'Can export beta reports')],
                        'indexes': [models.Index(fields=['programme', '-id'], name='snapshot_programme')],
                    },
                ),
                migrations.CreateModel(
                    name='BetaFeedback',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('feedback_id', models.UUIDField(editable=False, unique=True, verbose_name='id of the sender')),
                        ('participant', models.CharField(max_length=254, verbose_name='participant')),
                        ('type', models.CharField(choices=[('bug', 'bug'), ('ux', 'usability'), ('feature', 'feature wish'), ('other', 'other')], max_length=8, verbose_name='type')),
                        ('severity', models.CharField(blank=True, choices=[('critical', 'critical'), ('high', 'high'), ('medium', 'medium'), ('low', 'low')], max_length=8, verbose_name='severity')),
                        ('nps_score', models.PositiveSmallIntegerField(null=True, verbose_name='score')),
                        ('comment', models.TextField(blank=True, verbose_name='comment')),
                        ('page', models.CharField(blank=True, max_length=200, verbose_name='page')),
                        ('app_version', models.CharField(blank=True, max_length=64, verbose_name='version')),
                        ('source', models.CharField(max_length=160, verbose_name='told by')),
                        ('given_at', models.DateTimeField(verbose_name='given')),
                        ('clock', models.CharField(blank=True, choices=[('corrected', 'time corrected'), ('dropped', 'time dropped')], db_default='', default='', max_length=9, verbose_name="sender's clock")),
                        ('received_at', models.DateTimeField(verbose_name='received')),
                        ('digest', models.CharField(editable=False, max_length=64)),
                        ('status', models.CharField(choices=[('open', 'open'), ('planned', 'planned'), ('fixed', 'fixed'), ('declined', 'declined'), ('duplicate', 'duplicate')], default='open', max_length=9, verbose_name='status')),
                        ('fix_version', models.CharField(blank=True, max_length=64, verbose_name='fixed in version')),
                        ('assignee', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='assigned to')),
                        ('duplicate_of', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='duplicates', to='beta.betafeedback', verbose_name='duplicate of')),
                        ('incident', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='feedback', to='monitoring.incident', verbose_name='incident')),
                        ('programme', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='feedback', to='beta.betaprogramme', verbose_name='programme')),
                        ('tags', models.ManyToManyField(blank=True, related_name='feedback', to='beta.feedbacktag', verbose_name='tags')),
                    ],
                    options={
                        'verbose_name': 'feedback',
                        'verbose_name_plural': 'feedback',
                        'db_table': 'monitoring_betafeedback',
                        'ordering': ['-id'],
                        'permissions': [('export_betafeedback', 'Can export feedback')],
                        'indexes': [models.Index(fields=['programme', '-id'], name='feedback_programme'), models.Index(fields=['programme', 'type', '-given_at'], name='feedback_given'), models.Index(fields=['programme', 'participant', '-given_at', '-id', 'nps_score'], name='feedback_participant'), models.Index(fields=['source', '-id'], name='feedback_source'), models.Index(condition=models.Q(('status__in', ['open', 'planned'])), fields=['-id'], name='feedback_unsettled'), models.Index(condition=models.Q(('status__in', ['open', 'planned']), ('type', 'bug')), fields=['programme', 'severity', 'received_at'], name='feedback_bugs_waiting')],
                        'constraints': [models.CheckConstraint(condition=models.Q(('nps_score', None), ('nps_score__lte', 10), _connector='OR'), name='feedback_score')],
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name='ProgrammeTarget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('programme', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='target_links', to='beta.betaprogramme', verbose_name='beta programme')),
                ('target', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='programme_link', to='monitoring.target', verbose_name='target')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddField(
            model_name='betaprogramme',
            name='targets',
            field=models.ManyToManyField(related_name='beta_programmes', related_query_name='beta_programme', through='beta.ProgrammeTarget', to='monitoring.target'),
        ),
        migrations.RunSQL(COPY, COPY_BACK),
        migrations.RunPython(relabel('monitoring', 'beta'), relabel('beta', 'monitoring')),
    ]
