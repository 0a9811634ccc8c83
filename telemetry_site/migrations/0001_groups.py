from django.contrib.auth.management import create_permissions
from django.db import migrations

SEE = [
    "accounts.view_auditevent",
    "accounts.view_user",
    "accounts.view_token",
    "commands.view_command",
    "commands.view_commandbatch",
    "commands.view_commandtype",
    "devices.view_device",
    "devices.view_devicetoken",
    "procrastinate.view_procrastinatejob",
    "telemetry.view_retentionrule",
    "telemetry.view_telemetry",
]
SUPPORT = [*SEE, "commands.add_command"]
OPERATOR = [
    *SUPPORT,
    "accounts.change_user",
    "accounts.change_token",
    "commands.add_commandtype",
    "commands.change_commandtype",
    "commands.delete_commandtype",
    "devices.add_device",
    "devices.change_device",
    "devices.delete_device",
]


def make(apps, schema_editor):
    """Create two groups with permissions. An existing group of the same name is not changed."""
    # Django creates permissions after all migrations, but they are needed now.
    for label in ("accounts", "devices", "telemetry", "commands", "procrastinate"):
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, apps=apps, verbosity=0)
        config.models_module = None
    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name, rights in {"support": SUPPORT, "operator": OPERATOR}.items():
        group, made = Group.objects.get_or_create(name=name)
        for right in rights if made else ():
            label, codename = right.split(".")
            group.permissions.add(
                Permission.objects.get(content_type__app_label=label, codename=codename)
            )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_looked_up_by_staff"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("commands", "0003_looked_at_by_staff"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("devices", "0003_deactivated_and_looked_for"),
        ("procrastinate", "0041_post_retry_failed_job"),
        ("telemetry", "0003_purges"),
    ]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
