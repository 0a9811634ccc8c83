"""People, and what they take away with them."""

import uuid
from collections.abc import Iterator
from functools import cache
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


class AccessEnded(PermissionDenied):
    """The user's access was ended after this request had proved who sends it."""


def fold(name: str) -> str:
    """Return the spelling by which names and e-mail addresses are looked up and counted."""
    return name.casefold()


def spelled(field: str, text: str) -> Q:
    """Match rows whose `field` is `text` in upper or lower case, as the unique indexes do."""
    return Q(Exact(Lower(field), Lower(Value(text, models.TextField()))))


NAME_OF_CLOSED = "deleted."
"""How the usernames of closed accounts begin."""
SESSION_SALT = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"


class UserManager(BaseUserManager["User"]):
    """Finds people; makes them for the command line."""

    def called(self, name: str) -> "User | None":
        """Return the user with this username or e-mail address, in upper or lower case.

        A username may not contain `@` (see the constraint). The case mapping of the database
        differs from `fold` for some letters (a dotless i becomes I). A user is found only by a
        name that `fold` takes for theirs, so that each spelling that finds them is counted as one.
        """
        if "@" in name:
            return self.with_email(name)
        user = self.filter(spelled("username", name)).first()
        return user if user and fold(user.username) == fold(name) else None

    def with_email(self, email: str) -> "User | None":
        """Return the user who has confirmed this address, or else the newest who claims it."""
        claims = self.filter(spelled("email", email))
        newest = claims.order_by(F("email_verified_at").desc(nulls_last=True), "-created_at")
        return next((user for user in newest if fold(user.email) == fold(email)), None)

    def claiming(self, email: str) -> "list[User]":
        """Return the user who has confirmed this address, or else the active users who claim it,
        the oldest first, so that nobody is pushed out by accounts that are made later.
        """
        found = self.filter(spelled("email", email)).order_by("created_at", "pk")
        users = [user for user in found if fold(user.email) == fold(email)]
        confirmed = [user for user in users if user.email_verified_at is not None]
        return confirmed or [user for user in users if user.is_active]

    def lock(self, user: "User") -> None:
        """Lock the user's row until the end of the transaction.

        Raises AccessEnded if access ended after `user` was read: what this request has proved
        (a password, a token) opens nothing any more.
        """
        current = self.select_for_update(no_key=True).filter(pk=user.pk)
        if not current.filter(access_generation=user.access_generation).exists():
            raise AccessEnded

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
    """Letters, digits and . + - _ ; no @, which tells an address from a name. Names of closed
    accounts are nobody's to choose.
    """

    regex = r"^[\w.+-]+\Z"
    message = _("Letters, digits and . + - _ only.")

    def __call__(self, value: object) -> None:
        super().__call__(value)
        if fold(str(value)).startswith(NAME_OF_CLOSED):
            words = gettext("A username must not begin with “%(beginning)s”.")
            raise ValidationError(words % {"beginning": NAME_OF_CLOSED}, code="reserved")


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
    # How often access was ended: what was proved before the last time counts no more.
    access_generation = models.PositiveIntegerField(default=0, db_default=0, editable=False)
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
        indexes = [models.Index(Lower("email"), name="users_email")]
        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="users_username_unique_in_any_case",
                violation_error_message=_("This username is taken."),
            ),
            # Several users may claim an address; one of them can confirm it.
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
        """Return whether this is the password. A hash that another hasher has made, or one with
        other parameters, is replaced.

        Django would save the new hash in any case, and undo a change of the password that was made
        while the old hash was checked.
        """
        checked = self.password

        def replace(raw_password: str) -> None:
            fresh = make_password(raw_password)
            same = User.objects.filter(pk=self.pk, password=checked)
            if same.update(password=fresh):
                self.password = fresh

        return check_password(raw_password, checked, replace)

    def get_session_auth_hash(self) -> str:
        """Return what a session is bound to: it ends with the password and with all access."""
        return self._access_hash()

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        for key in settings.SECRET_KEY_FALLBACKS:
            yield self._access_hash(secret=key)

    def _access_hash(self, secret: str | None = None) -> str:
        # Generation 0 has Django's own hash, so that an upgrade ends no session.
        generation = f"{self.access_generation} " if self.access_generation else ""
        value = f"{generation}{self.password}"
        return salted_hmac(SESSION_SALT, value, secret=secret, algorithm="sha256").hexdigest()


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
