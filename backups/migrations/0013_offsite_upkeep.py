from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0012_offsite_copies'),
    ]

    operations = [
        migrations.RenameField(
            model_name='offsitecopy',
            old_name='tried_at',
            new_name='retry_at',
        ),
        migrations.RemoveField(
            model_name='offsitecopy',
            name='checksum',
        ),
        migrations.AddField(
            model_name='offsitecopy',
            name='digests',
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name='offsitecopy',
            name='read_parts',
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='offsitecopy',
            name='superseded',
            field=models.JSONField(db_default=[], default=list),
        ),
    ]
