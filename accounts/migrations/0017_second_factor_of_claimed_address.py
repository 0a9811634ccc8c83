from django.db import migrations, models


class Migration(migrations.Migration):
    """Which second factors were switched on by somebody who had not proven the address."""

    dependencies = [("accounts", "0016_no_truncate")]

    operations = [
        migrations.AddField(
            model_name="secondfactor",
            name="of_claimed_address",
            field=models.BooleanField(
                db_default=False,
                default=False,
                editable=False,
                help_text="Switched on while the user had not proven the e-mail address, and still "
                "has not. A password reset then switches it off: somebody else may own the address.",
            ),
        ),
    ]
