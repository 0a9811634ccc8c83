from django.db import migrations, models
from django.db.models import deletion


class Migration(migrations.Migration):
    """What an end of access ends: a generation of access, and who made and who got a token."""

    dependencies = [
        ("accounts", "0010_unknown_shares"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="access_generation",
            field=models.PositiveIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="token",
            name="sent_to",
            field=models.EmailField(
                db_default="",
                default="",
                editable=False,
                help_text="The address that a link was mailed to, and proves.",
                max_length=254,
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE tokens ADD COLUMN parent_id uuid NULL",
                    "ALTER TABLE tokens DROP COLUMN parent_id",
                ),
                # Validated in 0015.
                migrations.RunSQL(
                    "ALTER TABLE tokens ADD CONSTRAINT tokens_parent_id_fk"
                    " FOREIGN KEY (parent_id) REFERENCES tokens (id)"
                    " DEFERRABLE INITIALLY DEFERRED NOT VALID",
                    migrations.RunSQL.noop,
                ),
            ],
            state_operations=[
                migrations.AddField(
                    model_name="token",
                    name="parent",
                    field=models.ForeignKey(
                        db_index=False,
                        editable=False,
                        help_text="The token that made it, which it does not outlive.",
                        null=True,
                        on_delete=deletion.CASCADE,
                        related_name="children",
                        to="accounts.token",
                    ),
                ),
            ],
        ),
    ]
