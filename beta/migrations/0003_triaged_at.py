from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('beta', '0002_words'),
    ]

    operations = [
        migrations.AddField(
            model_name='betafeedback',
            name='triaged_at',
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
