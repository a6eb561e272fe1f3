from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0006_start_of_damage'),
    ]

    operations = [
        migrations.AddField(
            model_name='depositarea',
            name='first_seen',
            field=models.JSONField(default=dict, editable=False, null=True),
        ),
    ]
