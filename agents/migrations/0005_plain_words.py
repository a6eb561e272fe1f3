from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0004_approval_and_licences'),
    ]

    operations = [
        migrations.AlterField(
            model_name='agent',
            name='uninstall_reason',
            field=models.CharField(blank=True, max_length=255, verbose_name='uninstall reason'),
        ),
        migrations.AlterField(
            model_name='agent',
            name='user_id',
            field=models.CharField(blank=True, max_length=128, verbose_name='user ID'),
        ),
    ]
