"""Tokens, sessions, two-factor authentication, registrations and rate-limit counters."""

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Q
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from accounts.models.users import User, UsernameValidator


def active_tokens(now: datetime) -> Q:
    """Return the condition for tokens that are neither revoked nor expired."""
    return Q(Q(expires_at=None) | Q(expires_at__gt=now), revoked=False)


class StoredSecret(models.Model):
    """Base class of tokens: the SHA-256, the display prefix and the expiry, but no plaintext."""

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
    """A token of a user: for the API, or for a link that works once."""

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
        help_text="The token that was used to create this token. If it is revoked, so is this one.",
    )
    sent_to = models.EmailField(
        max_length=254,
        default="",
        db_default="",
        editable=False,
        help_text="The e-mail address that the link was mailed to.",
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
    """A browser session, signed in or not. Only the SHA-256 of the cookie is stored."""

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
    """Two-factor authentication of a user: the seed of the authenticator's key."""

    user = models.OneToOneField(
        User, primary_key=True, on_delete=models.CASCADE, related_name="second_factor"
    )
    seed = models.BinaryField(editable=False)
    last_step = models.BigIntegerField(editable=False, help_text="Time step of the last used code.")
    of_claimed_address = models.BooleanField(
        default=False,
        db_default=False,
        editable=False,
        help_text="Enabled while the e-mail address was unverified, and it still is. A password "
        "reset then disables it, because another person may own the address.",
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
    """The SHA-256 of a single-use code for users who have lost their authenticator."""

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
    """A pending sign-up or invitation. It becomes a user when the mailed link is confirmed.

    It reserves neither the username nor the e-mail address: the first registration that is
    completed gets them. Invited users choose username and password when they accept.
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
    """A rate-limit counter: the attempts since its window began. All processes share it."""

    key = models.BinaryField(primary_key=True, max_length=32)
    about = models.BinaryField(null=True, max_length=32, db_index=True)
    """Digest of the user or e-mail address that the limit protects, or null."""
    tries = models.PositiveIntegerField()
    ends_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = "throttles"

    def __str__(self) -> str:
        return f"{self.tries} until {self.ends_at}"
