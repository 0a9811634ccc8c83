"""Users and their data exports."""

import uuid
from collections.abc import Iterator
from functools import cache
from typing import Self
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Exact
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


@cache
def available_time_zones() -> frozenset[str]:
    """Return the names of all time zones. Cached: reading them from disk takes ten milliseconds."""
    return frozenset(available_timezones())


def validate_time_zone(name: str) -> None:
    """Raise ValidationError unless the IANA database has this time zone."""
    if name not in available_time_zones():
        raise ValidationError(
            gettext("There is no time zone called %(name)s.") % {"name": repr(name)}
        )


def validate_language(code: str) -> None:
    """Raise ValidationError unless the site supports this language."""
    if code not in dict(settings.LANGUAGES):
        raise ValidationError(gettext("Choose one of these."))


class AccessEnded(PermissionDenied):
    """The user's access was revoked after this request was authenticated."""


def fold(name: str) -> str:
    """Return the normalized form of a username or e-mail address, for look-ups and counters."""
    return name.casefold()


def equals_ignoring_case(field: str, text: str) -> Q:
    """Return the condition `field` = `text`, ignoring case as the unique indexes do."""
    return Q(Exact(Lower(field), Lower(Value(text, models.TextField()))))


CLOSED_USERNAME_PREFIX = "deleted."
"""Prefix of the usernames of deleted accounts."""
SESSION_SALT = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"


class UserQuerySet(models.QuerySet["User"]):
    """Users filtered by the state of their account."""

    def active(self) -> Self:
        """Return the users who may sign in: neither deactivated nor deleted."""
        return self.filter(is_active=True)

    def not_deleted(self) -> Self:
        """Return the users whose account is not deleted, including deactivated users."""
        return self.filter(deleted_at=None)

    def deleted(self) -> Self:
        """Return the deleted accounts whose row is still referenced."""
        return self.exclude(deleted_at=None)


class UserManager(BaseUserManager["User"]):
    """Look up, lock and create users."""

    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db)

    def active(self) -> UserQuerySet:
        return self.get_queryset().active()

    def not_deleted(self) -> UserQuerySet:
        return self.get_queryset().not_deleted()

    def deleted(self) -> UserQuerySet:
        return self.get_queryset().deleted()

    def get_by_login(self, name: str) -> "User | None":
        """Return the user with this username or e-mail address, ignoring case.

        A username cannot contain `@` (see the constraint). The case mapping of the database
        differs from `fold` for some letters (a dotless i becomes I). Therefore the result is
        compared by `fold` again: all names that find a user then count as one name.
        """
        if "@" in name:
            return self.with_email(name)
        user = self.filter(equals_ignoring_case("username", name)).first()
        return user if user and fold(user.username) == fold(name) else None

    def with_email(self, email: str) -> "User | None":
        """Return the user with this verified e-mail address, or else the newest unverified user."""
        claims = self.filter(equals_ignoring_case("email", email))
        newest = claims.order_by(F("email_verified_at").desc(nulls_last=True), "-created_at")
        return next((user for user in newest if fold(user.email) == fold(email)), None)

    def get_claimants(self, email: str) -> "list[User]":
        """Return the user who has verified this e-mail address, or else the active users with it.

        The oldest account comes first, so that later accounts cannot push it beyond a limit.
        """
        found = self.filter(equals_ignoring_case("email", email)).order_by("created_at", "pk")
        users = [user for user in found if fold(user.email) == fold(email)]
        verified = [user for user in users if user.email_verified_at is not None]
        return verified or [user for user in users if user.is_active]

    def lock(self, user: "User") -> None:
        """Lock the user's row until the end of the transaction.

        Raises AccessEnded if access was revoked after `user` was read: the password or the token
        of this request is no longer valid.
        """
        current = self.select_for_update(no_key=True).filter(pk=user.pk)
        if not current.filter(access_generation=user.access_generation).exists():
            raise AccessEnded

    def create_user(
        self, username: str, email: str, password: str | None = None, **fields: object
    ) -> "User":
        """Create a user. Without a password, password sign-in is disabled."""
        user = self.model(username=username, email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.full_clean(exclude=["password"])
        user.save()
        return user

    def create_superuser(self, username: str, email: str, password: str | None = None) -> "User":
        """Create a superuser with a verified e-mail address."""
        return self.create_user(
            username,
            email,
            password,
            is_staff=True,
            is_superuser=True,
            email_verified_at=timezone.now(),
        )


class UsernameValidator(UnicodeUsernameValidator):
    """Allow letters, digits and . + - _ only.

    An @ would make a username look like an e-mail address. The prefix of deleted accounts is
    reserved.
    """

    regex = r"^[\w.+-]+\Z"
    message = _("Letters, digits and . + - _ only.")

    def __call__(self, value: object) -> None:
        super().__call__(value)
        if fold(str(value)).startswith(CLOSED_USERNAME_PREFIX):
            message = gettext("A username must not begin with “%(beginning)s”.")
            raise ValidationError(message % {"beginning": CLOSED_USERNAME_PREFIX}, code="reserved")


class User(AbstractBaseUser, PermissionsMixin):
    """A user who signs in and owns devices."""

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
    # Incremented when access is revoked: passwords and tokens checked before are then invalid.
    access_generation = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    time_zone = models.CharField(
        _("time zone"), max_length=64, default="UTC", validators=[validate_time_zone]
    )
    # Empty: the language of the browser.
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
        indexes = [models.Index(Lower("email"), name="users_email")]
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="users_username_unique_in_any_case",
                violation_error_message=_("This username is taken."),
            ),
            # Several users may have the same unverified address; only one can verify it.
            models.UniqueConstraint(
                Lower("email"),
                condition=Q(email_verified_at__isnull=False),
                name="users_email_confirmed_once",
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

    def check_password(self, raw_password: str | None) -> bool:
        """Return whether the password is correct. Replace a hash of an outdated hasher.

        Django would save the new hash unconditionally. That would undo a change of the password
        that was made during the check.
        """
        old_hash = self.password

        def replace_hash(raw_password: str) -> None:
            new_hash = make_password(raw_password)
            unchanged = User.objects.filter(pk=self.pk, password=old_hash)
            if unchanged.update(password=new_hash):
                self.password = new_hash

        return check_password(raw_password, old_hash, replace_hash)

    def get_session_auth_hash(self) -> str:
        """Return the hash for sessions. It changes with the password and on revocation."""
        return self._access_hash()

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        for key in settings.SECRET_KEY_FALLBACKS:
            yield self._access_hash(secret=key)

    def _access_hash(self, secret: str | None = None) -> str:
        # Generation 0 has the same hash as in Django, so that an upgrade keeps the sessions.
        generation = f"{self.access_generation} " if self.access_generation else ""
        value = f"{generation}{self.password}"
        return salted_hmac(SESSION_SALT, value, secret=secret, algorithm="sha256").hexdigest()


class Archive(models.Model):
    """A data export: all data of a user as a ZIP file, available until `expires_at`."""

    class Status(models.TextChoices):
        PENDING = "waiting", _("being made")
        READY = "ready", _("ready")
        FAILED = "failed", _("failed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.OneToOneField(User, on_delete=models.CASCADE, related_name="+")
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
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
