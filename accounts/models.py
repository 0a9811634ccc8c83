"""People, and the secrets that stand for them."""

import uuid
from datetime import datetime
from functools import cache
from typing import Self
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Length, Lower
from django.db.models.lookups import Exact
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.actions import ACTIONS


@cache
def time_zones() -> frozenset[str]:
    """The names of all of them, which are files: finding them takes ten milliseconds."""
    return frozenset(available_timezones())


def validate_time_zone(name: str) -> None:
    """Raise ValidationError unless this is a zone of the IANA database."""
    if name not in time_zones():
        raise ValidationError(
            gettext("There is no time zone called %(name)s.") % {"name": repr(name)}
        )


def validate_language(code: str) -> None:
    """Raise ValidationError unless the site speaks it."""
    if code not in dict(settings.LANGUAGES):
        raise ValidationError(gettext("Choose one of these."))


class UserManager(BaseUserManager["User"]):
    """Finds people; makes them for the command line."""

    def called(self, name: str) -> "User | None":
        """The user with this username or e-mail address, whatever its case.

        A username may not contain `@` (see the constraint), so no name is two people's.
        """
        return self.filter(Q(username__iexact=name) | Q(email__iexact=name)).first()

    def create_user(
        self, username: str, email: str, password: str | None = None, **fields: object
    ) -> "User":
        """Store a new user; without a password nobody can sign in with one."""
        user = self.model(username=username, email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.full_clean(exclude=["password"])
        user.save()
        return user

    def create_superuser(self, username: str, email: str, password: str | None = None) -> "User":
        """Store a new administrator, whose address needs no verification."""
        return self.create_user(
            username,
            email,
            password,
            is_staff=True,
            is_superuser=True,
            email_verified_at=timezone.now(),
        )


class UsernameValidator(UnicodeUsernameValidator):
    """Letters, digits and . + - _ ; no @, which tells an address from a name."""

    regex = r"^[\w.+-]+\Z"
    message = _("Letters, digits and . + - _ only.")


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in and owns devices."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    username = models.CharField(
        _("username"), max_length=150, unique=True, validators=[UsernameValidator()]
    )
    email = models.EmailField(_("email"), max_length=254)
    password = models.CharField(_("password"), max_length=128, db_column="password_hash")
    is_active = models.BooleanField(_("is active"), default=True)
    is_staff = models.BooleanField(_("is staff"), default=False)
    email_verified_at = models.DateTimeField(_("email verified at"), null=True, blank=True)
    pending_email = models.EmailField(max_length=254, blank=True, editable=False)
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="UTC", validators=[validate_time_zone]
    )
    # Empty: as the browser asks.
    language = models.CharField(
        _("language"), max_length=16, blank=True, validators=[validate_language]
    )
    deleted_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects = UserManager()

    USERNAME_FIELD = "username"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS = ["email"]

    class Meta:
        db_table = "users"
        verbose_name = _("user")
        verbose_name_plural = _("users")
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="users_username_unique_in_any_case",
                violation_error_message=_("This username is taken."),
            ),
            models.UniqueConstraint(
                Lower("email"),
                name="users_email_unique_in_any_case",
                violation_error_message=_("This address is taken."),
            ),
            models.CheckConstraint(
                condition=~Q(username__contains="@"), name="users_username_is_no_address"
            ),
            models.CheckConstraint(condition=~Q(username=""), name="users_username_not_empty"),
        ]

    def __str__(self) -> str:
        return self.username

    def get_short_name(self) -> str:
        return self.username


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

    class Meta(StoredSecret.Meta):
        db_table = "tokens"
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        indexes = [models.Index(fields=["-created_at", "-id"], name="tokens_newest")]
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
    tries = models.PositiveSmallIntegerField(default=0, editable=False)
    tries_until = models.DateTimeField(null=True, editable=False)
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


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    """Parts of the audit trail."""

    def of(self, user: User) -> Self:
        """The user's own trail."""
        return self.filter(owner=user)

    def about(self, subject: str) -> Self:
        """Of one action (`token.issued`), or of all with this word before the dot (`token`)."""
        return self.filter(Q(action=subject) | Q(action__startswith=f"{subject}."))

    def of_target(self, target: models.Model) -> Self:
        """What happened to this row, newest first."""
        return self.filter(target_id=str(target.pk)).order_by("-created_at", "-id")

    def before(self, time: datetime, id: uuid.UUID) -> Self:
        """Those that come after this one, newest first."""
        # The first bound alone lets the index find where to begin.
        return self.filter(Q(created_at__lt=time) | Q(id__lt=id), created_at__lte=time)


class AuditEvent(models.Model):
    """One line of the audit trail. Written by accounts.audit and never changed: a trigger sees to
    it (docs/decisions/0021).
    """

    class Means(models.TextChoices):
        """What somebody acted by."""

        NOTHING = "nothing", _("not signed in")
        SESSION = "session", _("browser")
        TOKEN = "token", _("API token")
        DEVICE = "device", _("device token")
        COMMAND_LINE = "command_line", _("command line")
        WORKER = "worker", _("background worker")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(_("time"))
    action = models.CharField(_("action"), max_length=64)
    # Whose trail it stands in. Gone with them, and only so: accounts.audit.forget_user.
    owner = models.ForeignKey(
        User,
        verbose_name=_("owner"),
        on_delete=models.PROTECT,
        null=True,
        db_index=False,
        related_name="+",
    )
    # No reference: it outlives the account, and an update on its deletion would be refused.
    actor_id = models.UUIDField(_("actor id"), null=True)
    actor_name = models.CharField(_("who"), max_length=150, blank=True)
    means = models.CharField(_("by"), max_length=16, choices=Means)
    means_id = models.CharField(_("means id"), max_length=64, blank=True)
    means_name = models.CharField(_("means name"), max_length=128, blank=True)
    address = models.GenericIPAddressField(_("from"), null=True)
    target_kind = models.CharField(_("target kind"), max_length=64, blank=True)
    target_id = models.CharField(_("target id"), max_length=64, blank=True)
    target_name = models.CharField(_("what"), max_length=254, blank=True)
    before = models.JSONField(_("before"), null=True, encoder=DjangoJSONEncoder)
    after = models.JSONField(_("after"), null=True, encoder=DjangoJSONEncoder)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        db_table = "audit_events"
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="audit_events_of_owner"),
            models.Index(fields=["-created_at", "-id"], name="audit_events_newest"),
            models.Index(fields=["target_id", "-created_at", "-id"], name="audit_events_about"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(action__regex=r"^[a-z_]+\.[a-z_]+$"), name="audit_events_action_dotted"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_name}".strip()

    @property
    def label(self) -> str:
        """The action as people read it."""
        return str(ACTIONS.get(self.action, self.action))

    @property
    def shown_address(self) -> str | None:
        """Where it came from, for the owner of the trail: not where staff sit."""
        return self.address if self.actor_id in (None, self.owner_id) else None


class Archive(models.Model):
    """All that belongs to a user, as a file that they can fetch for a while."""

    class Status(models.TextChoices):
        WAITING = "waiting", _("being made")
        READY = "ready", _("ready")
        FAILED = "failed", _("failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="+")
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    size = models.BigIntegerField(null=True)

    class Meta:
        db_table = "archives"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["waiting", "ready", "failed"]),
                name="archives_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status="ready", size__isnull=False, expires_at__isnull=False)
                | ~Q(status="ready"),
                name="archives_ready_has_a_size_and_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"archive of {self.user}"


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
