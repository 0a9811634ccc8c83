from django.db import migrations, models
from django.db.models import deletion


class Migration(migrations.Migration):
    """Add the access generation, and the parent and the e-mail address of a token."""

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
                help_text="The e-mail address that the link was mailed to.",
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
                        help_text="The token that was used to create this token. If it is revoked, so is this one.",
                        null=True,
                        on_delete=deletion.CASCADE,
                        related_name="children",
                        to="accounts.token",
                    ),
                ),
            ],
        ),
    ]
