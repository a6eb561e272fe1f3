
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('portal', '0014_preferences'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='FindingAcknowledgement',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=200, unique=True)),
                ('severity', models.PositiveSmallIntegerField(choices=[(1, 'critical'), (2, 'warning'), (3, 'info')])),
                ('acknowledged_at', models.DateTimeField()),
                ('acknowledged_by', models.CharField(max_length=150)),
                ('comment', models.CharField(blank=True, max_length=500, verbose_name='comment')),
                ('assignee', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL, verbose_name='assigned to')),
            ],
            options={
                'verbose_name': 'acknowledgement',
                'verbose_name_plural': 'acknowledgements',
                'permissions': [('acknowledge_finding', 'Can acknowledge and assign findings')],
            },
        ),
    ]
