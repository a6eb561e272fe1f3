from django.db import migrations


class Migration(migrations.Migration):
    """Hand the beta's models over to the app `beta`, which keeps their tables."""

    dependencies = [
        ('monitoring', '0005_unstable_targets_and_watch_leases'),
        ('beta', '0001_from_monitoring'),
    ]

    operations = [
        migrations.RemoveField(
            model_name='target',
            name='beta_programme',
        ),
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel(name='BetaFeedback'),
                migrations.DeleteModel(name='BetaSnapshot'),
                migrations.DeleteModel(name='FeedbackTag'),
                migrations.DeleteModel(name='FeedbackWindow'),
                migrations.DeleteModel(name='BetaProgramme'),
            ],
        ),
    ]
