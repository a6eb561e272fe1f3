from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('portal', '0002_notifications'),
    ]

    operations = [
        migrations.AddField(
            model_name='outboxmessage',
            name='html',
            field=models.TextField(blank=True, editable=False),
        ),
    ]
