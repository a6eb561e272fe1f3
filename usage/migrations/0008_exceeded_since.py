from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0007_words'),
    ]

    operations = [
        migrations.AddField(
            model_name='licence',
            name='exceeded_since',
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
