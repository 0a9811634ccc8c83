from django.db import migrations, models


class Migration(migrations.Migration):
    """Store whether MFA was enabled before the e-mail address was verified."""

    dependencies = [("accounts", "0016_no_truncate")]

    operations = [
        migrations.AddField(
            model_name="secondfactor",
            name="of_claimed_address",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Enabled while the e-mail address was unverified, and it still is. A password "
                "reset then disables it, because another person may own the address.",
            ),
        ),
    ]
