from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("backups", "0010_reasons_of_unavailable_sandboxes")]

    operations = [
        migrations.AddField(
            "expectedbackupjob",
            "unavailable_sandbox",
            models.ForeignKey(
                to="backups.drillsandbox",
                on_delete=models.SET_NULL,
                related_name="jobs",
                null=True,
                editable=False,
            ),
        ),
    ]
