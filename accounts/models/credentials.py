"""The secrets that stand for people, and how often they were tried."""

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User, UsernameValidator


def alive(now: datetime) -> Q:
    """Of stored secrets: neither revoked nor expired."""
    return Q(Q(expires_at=None) | Q(expires_at__gt=now), revoked=False)


class StoredSecret(models.Model):
    """What is kept of a secret: its SHA-256, its visible beginning, its life."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    token_hash = models.BinaryField(unique=True, editable=False)
    prefix = models.CharField(_("prefix"), max_length=12, editable=False)
    label = models.CharField(_("label"), max_length=100, blank=True)
    revoked = models.BooleanField(_("revoked"), default=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Exact(Length("token_hash"), 32),
                name="%(class)s_token_hash_is_sha256",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…" + (f" ({self.label})" if self.label else "")


class Token(StoredSecret):
    """A secret of a user: for the API, or for a link that is followed once."""

    class Scope(models.TextChoices):
        AUTH = "auth", "API"
        EMAIL_VERIFICATION = "email_verification", _("E-mail verification")
        PASSWORD_RESET = "password_reset", _("Password reset")
        SIGN_IN = "sign_in", _("One-time sign-in")

    class Access(models.TextChoices):
        FULL = "full", _("Read and write")
        READ = "read", _("Read only")

    user = models.ForeignKey(
        User, verbose_name=_("user"), on_delete=models.CASCADE, related_name="tokens"
    )
    scope = models.CharField(_("scope"), max_length=20, choices=Scope)
    access = models.CharField(_("access"), max_length=4, choices=Access, default=Access.FULL)
    used_at = models.DateTimeField(_("used at"), null=True, blank=True, editable=False)
    parent = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.CASCADE,
        db_index=False,
        related_name="children",
        editable=False,
        help_text="The token that made it, which it does not outlive.",
    )
    sent_to = models.EmailField(
        max_length=254,
        default="",
        db_default="",
        editable=False,
        help_text="The address that a link was mailed to, and proves.",
    )

    class Meta(StoredSecret.Meta):
        db_table = "tokens"
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="tokens_newest"),
            models.Index(
                fields=["parent"], condition=Q(parent__isnull=False), name="tokens_of_parent"
            ),
        ]
        constraints = [
            *StoredSecret.Meta.constraints,
            models.CheckConstraint(
                condition=Q(access__in=["full", "read"]), name="token_access_known"
            ),
        ]


class Session(models.Model):
    """A browser that is signed in, or about to be. Of its cookie only the SHA-256 is kept."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key_hash = models.BinaryField(unique=True, editable=False)
    data = models.TextField(editable=False)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="sessions")
    address = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=300)
    created_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "sessions"
        constraints = [
            models.CheckConstraint(
                condition=Exact(Length("key_hash"), 32), name="session_key_hash_is_sha256"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class SecondFactor(models.Model):
    """That a user is asked for a code beside the password, and what the codes are made of."""

    user = models.OneToOneField(
        User, primary_key=True, on_delete=models.CASCADE, related_name="second_factor"
    )
    seed = models.BinaryField(editable=False)
    last_step = models.BigIntegerField(editable=False, help_text="Of the last code that was used.")
    of_claimed_address = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Switched on while the user had not proven the e-mail address, and still has "
        "not. A password reset then switches it off: somebody else may own the address.",
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = "second_factors"
        constraints = [
            models.CheckConstraint(
                condition=Exact(Length("seed"), 32), name="second_factor_seed_is_32_bytes"
            ),
        ]

    def __str__(self) -> str:
        return str(self.user_id)


class RecoveryCode(models.Model):
    """What is kept of a code that stands in for a lost authenticator, once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="recovery_codes")
    code_hash = models.BinaryField(unique=True, editable=False)
    used_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "recovery_codes"
        constraints = [
            models.CheckConstraint(
                condition=Exact(Length("code_hash"), 32), name="recovery_code_hash_is_sha256"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Registration(StoredSecret):
    """Somebody who becomes a user once they have opened what was sent to their address.

    It holds neither the name nor the address: of several, the first that is completed gets them.
    Who was invited chooses name and password then.
    """

    email = models.EmailField(_("email"), max_length=254)
    username = models.CharField(
        _("username"), max_length=150, blank=True, validators=[UsernameValidator()]
    )
    password = models.CharField(max_length=128, blank=True, db_column="password_hash")
    invited_by = models.ForeignKey(
        User,
        verbose_name=_("invited by"),
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="invitations",
    )

    class Meta(StoredSecret.Meta):
        db_table = "registrations"
        verbose_name = _("registration")
        verbose_name_plural = _("registrations")
        indexes = [models.Index(Lower("email"), name="registrations_email")]
        constraints = [
            *StoredSecret.Meta.constraints,
            models.CheckConstraint(
                condition=Q(username="", password="", invited_by__isnull=False)
                | Q(~Q(username=""), ~Q(password=""), invited_by=None),
                name="registrations_chosen_or_invited",
            ),
        ]

    def __str__(self) -> str:
        return self.email


class Throttle(models.Model):
    """How often something was tried since its window began, shared by all processes."""

    key = models.BinaryField(primary_key=True, max_length=32)
    about = models.BinaryField(null=True, max_length=32, db_index=True)
    """Whom it keeps out, wherever they come from; null where that is nobody in particular."""
    tries = models.PositiveIntegerField()
    ends_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "throttles"

    def __str__(self) -> str:
        return f"{self.tries} until {self.ends_at}"
