from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("portal", "0011_heartbeat")]

    operations = [
        migrations.AddField(
            model_name="notificationchannel",
            name="environment_key",
            field=models.CharField(blank=True, editable=False, max_length=16, null=True, unique=True),
        ),
    ]
