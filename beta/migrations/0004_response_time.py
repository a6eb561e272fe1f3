import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('beta', '0003_triaged_at'),
    ]

    operations = [
        migrations.AlterField(
            model_name='betaprogramme',
            name='latency_target_ms',
            field=models.PositiveIntegerField(default=500, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(30000)], verbose_name='response time (ms)'),
        ),
    ]
