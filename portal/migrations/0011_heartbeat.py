from django.db import migrations


def rename_permissions(apps, schema_editor):
    permissions = apps.get_model("auth", "Permission").objects.filter(content_type__app_label="portal")
    for permission in permissions.filter(codename__endswith="_beat"):
        permission.codename = permission.codename.replace("_beat", "_heartbeat")
        permission.save(update_fields=["codename"])


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0010_people_permissions"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.AlterModelTable("Beat", "portal_beat"),  # its table already: renaming the model then leaves it alone
        migrations.RenameModel("Beat", "Heartbeat"),
        migrations.RunPython(rename_permissions, migrations.RunPython.noop),
    ]
