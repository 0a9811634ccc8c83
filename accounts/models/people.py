"""People, and what they take away with them."""

import uuid
from functools import cache
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


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
