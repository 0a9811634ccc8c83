"""Count attempts of MFA codes in `throttles`, like all other attempts."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "0017_second_factor_of_claimed_address")]

    operations = [
        migrations.RemoveField(model_name="secondfactor", name="tries"),
        migrations.RemoveField(model_name="secondfactor", name="tries_until"),
    ]
