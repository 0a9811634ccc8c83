"""How people join: by themselves or invited, and only once they have opened what was mailed.

Until then there is a Registration, which holds neither a name nor an address. Where
ALLOW_UNVERIFIED_LOGIN they are a user at once, who only claims the address: others may claim it,
too, and one of them may have confirmed it already.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts import throttling
from accounts.audit import log as audit
from accounts.email import sending, verification
from accounts.models import Registration, User, alive, fold, spelled
from accounts.passwords import services as passwords
from accounts.tokens import format as token_format
from accounts.tokens import services as tokens

LIFETIME = timedelta(hours=24)
INVITATION_LIFETIME = timedelta(days=7)
VERIFICATION_PREFIX = tokens.PREFIXES[tokens.Scope.EMAIL_VERIFICATION]
INVITATION_PREFIX = "tsi"


class RegistrationClosed(Exception):
    """Nobody may join, or only who is invited; see settings.REGISTRATION_MODE."""


def register(username: str, email: str, password: str, *, now: datetime) -> None:
    """Have a link mailed to somebody who wants to join. A taken username is told, as usernames are
    no secret; whether the address is known is not, and the same is done for both.

    It replaces the registrations that wait for this address, whoever made them: their links end.
    Raises RegistrationClosed and ValidationError.
    """
    if settings.REGISTRATION_MODE != "open":
        raise RegistrationClosed
    user = User(username=username, email=User.objects.normalize_email(email))
    _validate_new_user(user, password)
    user.password = make_password(password)
    with transaction.atomic():
        if settings.ALLOW_UNVERIFIED_LOGIN:
            if not _create_user(user):
                raise _taken()
            audit.record("user.joined", target=user, by=user, now=now)
            sending.enqueue("verification", user.pk)
            return
        Registration.objects.filter(spelled("email", user.email), invited_by=None).delete()
        registration = Registration.objects.create(
            username=user.username,
            email=user.email,
            password=user.password,
            expires_at=now + LIFETIME,
            # Of a secret that nobody knows, until one is mailed.
            token_hash=token_format.generate(VERIFICATION_PREFIX).digest,
        )
        sending.enqueue("registration", registration.pk)


def resend_links(email: str) -> None:
    """Mail another link to who waits for one at this address; nobody learns if somebody does.

    Whoever asks has proved nothing. The link of a change of address is mailed again only to the
    signed-in user who asked for the change (emails.resend_own).
    """
    waiting = Registration.objects.filter(spelled("email", email), invited_by=None)
    newest = waiting.order_by("-created_at")
    registration = next((one for one in newest if fold(one.email) == fold(email)), None)
    user = User.objects.with_email(email)
    sending.enqueue("registration", registration.pk if registration else uuid4())
    sending.enqueue("verification", user.pk if user else uuid4())


def may_invite(user: User) -> bool:
    """Return whether the user may invite people: staff with the right to add a registration."""
    return user.is_staff and user.has_perm("accounts.add_registration")


def invite(by: User, email: str, *, now: datetime) -> Registration:
    """Mail somebody a link to join by; a former invitation is replaced.

    Raises PermissionDenied, RegistrationClosed and, when the address is a user's, ValidationError.
    """
    if not may_invite(by):
        raise PermissionDenied
    if settings.REGISTRATION_MODE == "closed":
        raise RegistrationClosed
    if verification.email_is_verified(email):
        raise ValidationError({"email": _("This address is a user's already.")})
    with transaction.atomic():
        Registration.objects.filter(spelled("email", email), invited_by__isnull=False).delete()
        invitation = Registration.objects.create(
            email=User.objects.normalize_email(email),
            invited_by=by,
            expires_at=now + INVITATION_LIFETIME,
            token_hash=token_format.generate(INVITATION_PREFIX).digest,
        )
        audit.record("user.invited", target=invitation, now=now)
        sending.enqueue("registration", invitation.pk)
    return invitation


def cancel_registration(registration: Registration) -> None:
    """Make a registration or an invitation, and its link, nothing."""
    with transaction.atomic():
        audit.record("user.withdrawn", target=registration)
        Registration.objects.filter(pk=registration.pk).delete()


def get_open_registration(shown: token_format.Shown, *, now: datetime) -> Registration:
    """Return the open registration or invitation that this secret was mailed for. An invitation
    ends with its inviter's right to invite. Raises TokenRefused.
    """
    try:
        digest = token_format.digest_of(shown, VERIFICATION_PREFIX, INVITATION_PREFIX)
        registration = Registration.objects.get(alive(now), token_hash=digest)
    except (token_format.MalformedToken, Registration.DoesNotExist):
        raise tokens.InvalidToken from None
    if registration.invited_by and not may_invite(registration.invited_by):
        raise tokens.InvalidToken
    return registration


class Waiting(NamedTuple):
    """Who waits for an address to be proven, and whether a password has to be given for it."""

    name: str
    registers: bool
    asks_password: bool


def waiting(shown: token_format.Shown, *, by: User | None, now: datetime) -> Waiting:
    """Return who this secret makes a user, or whose address it proves; `by` is who is signed in.

    Raises TokenRefused.
    """
    try:
        registration = get_open_registration(shown, now=now)
    except tokens.InvalidToken:
        user = verification.asked_by(shown, now=now)
        return Waiting(user.username, False, _must_give_password(user, by))
    return Waiting(registration.username, True, registration.invited_by_id is None)


def verify_email_or_complete(
    shown: token_format.Shown,
    *,
    username: str = "",
    password: str = "",
    by: User | None = None,
    now: datetime,
) -> User:
    """Prove an address with what was mailed to it, be it to join or as a user's new address.

    Anybody can have a link mailed to an address that is not theirs. So the link alone is not
    enough: whoever opens it gives the password of the account that the address is for, or is
    signed in to it (`by`).

    Raises TokenRefused, RegistrationClosed, TooManyTries and, for the password or when the
    username is taken meanwhile, ValidationError, after which the link still works.
    """
    try:
        get_open_registration(shown, now=now)
    except tokens.InvalidToken:
        user = verification.asked_by(shown, now=now)
        if _must_give_password(user, by):
            _confirm(user, password, now=now)
        return verification.verify_email(shown, now=now)
    return complete_registration(shown, username=username, password=password, now=now)


def complete_registration(
    shown: token_format.Shown, *, username: str = "", password: str, now: datetime
) -> User:
    """Make a user of who opened this link and gives the password that was registered; of many at
    once one succeeds.

    Raises TokenRefused, RegistrationClosed and TooManyTries. When the password is wrong, or the
    username is taken meanwhile, it raises ValidationError, and the link works once more, with
    another `username`.
    """
    registration = get_open_registration(shown, now=now)
    if registration.invited_by_id is not None:
        raise tokens.InvalidToken
    _refuse_where_closed(registration)
    _confirm_registered(registration, password, now=now)
    user = User(username=username or registration.username, password=registration.password)
    return _activate(registration, user, now=now)


def accept_invitation(
    shown: token_format.Shown, *, username: str, password: str, now: datetime
) -> User:
    """Make a user of who was invited.

    Raises TokenRefused, RegistrationClosed and ValidationError.
    """
    invitation = get_open_registration(shown, now=now)
    if invitation.invited_by_id is None:
        raise tokens.InvalidToken
    _refuse_where_closed(invitation)
    user = User(username=username, email=invitation.email)
    _validate_new_user(user, password)
    user.password = make_password(password)
    return _activate(invitation, user, now=now)


def send_registration_mail(registration_id: UUID, *, now: datetime) -> None:
    """Mail the link of a registration or an invitation. A link that was sent before works as well.

    Whoever has an account already is told so instead.
    """
    registration = Registration.objects.filter(alive(now), pk=registration_id).first()
    if registration is None:
        return
    if registration.invited_by and not may_invite(registration.invited_by):
        return
    if verification.email_is_verified(registration.email):
        verification.send_already_registered(registration.email)
        return
    invited = registration.invited_by
    secret = token_format.generate(INVITATION_PREFIX if invited else VERIFICATION_PREFIX)
    if registration.prefix:
        registration.pk, registration._state.adding = uuid4(), True
    registration.token_hash, registration.prefix = secret.digest, secret.visible
    registration.save()
    if invited:
        link, name = sending.build_url("join", secret), invited.username
        sending.send_email("invitation", to=registration.email, link=link, inviter=name)
    else:
        link, name = sending.build_url("verify-email", secret), registration.username
        sending.send_email("verify_email", to=registration.email, link=link, username=name)


def delete_expired(now: datetime) -> int:
    """Remove what nobody has completed in time; how many there were."""
    return Registration.objects.filter(expires_at__lte=now).delete()[0]


def validate_username(user: User) -> None:
    """Raise ValidationError when the user's name cannot be one, or is somebody else's."""
    user.clean_fields(
        exclude=[field.name for field in User._meta.fields if field.name != "username"]
    )
    # UPPER beside the LOWER of the index: no two names that look alike in capitals.
    if User.objects.filter(username__iexact=user.username).exclude(pk=user.pk).exists():
        raise _taken()


def _taken() -> ValidationError:
    return ValidationError(
        {"username": ValidationError(_("This username is taken."), code="taken")}
    )


def _must_give_password(user: User, by: User | None) -> bool:
    return by != user and user.has_usable_password()


def _confirm(user: User, password: str, *, now: datetime) -> None:
    _require(password)
    try:
        passwords.check_current_password(user, password, now=now)
    except passwords.WrongPassword:
        raise _wrong(_("This is not the password of the account.")) from None


def _confirm_registered(registration: Registration, password: str, *, now: datetime) -> None:
    _require(password)
    counters = throttling.of_registered_password(registration.email)
    throttling.consume(counters, now=now)
    right = passwords.check_counted(
        lambda: check_password(password, registration.password), registration.email, now=now
    )
    if not right:
        raise _wrong(
            _(
                "This is not the password that was chosen when signing up. If it was not you who "
                "signed up, sign up yourself."
            )
        )
    throttling.reset(counters)


def _require(password: str) -> None:
    if not password:
        message = _("Give the password that you chose.")
        raise ValidationError({"password": ValidationError(message, code="required")})


def _wrong(message: str) -> ValidationError:
    return ValidationError({"password": ValidationError(message, code="wrong-password")})


def _validate_new_user(user: User, password: str) -> None:
    user.clean_fields(exclude=["password"])
    validate_username(user)
    passwords.validate_password(user, password)


def _create_user(user: User) -> bool:
    """Store a new user, unless the name is taken, or the address is another's who has proven it."""
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError:
        return False
    return True


def _refuse_where_closed(registration: Registration) -> None:
    """Raise RegistrationClosed unless people may join in this way now, whatever held when the link
    was mailed.
    """
    ways = ("open", "invitation") if registration.invited_by_id else ("open",)
    if settings.REGISTRATION_MODE not in ways:
        raise RegistrationClosed


def _activate(registration: Registration, user: User, *, now: datetime) -> User:
    with transaction.atomic():
        if not Registration.objects.filter(alive(now), pk=registration.pk).delete()[0]:
            raise tokens.InvalidToken
        user.email, user.email_verified_at = registration.email, now
        validate_username(user)
        if verification.email_is_verified(user.email):
            raise tokens.InvalidToken
        verification.release_unverified_claims(user.email, user)
        if not _create_user(user):
            raise tokens.InvalidToken
        audit.record("user.joined", target=user, by=user, now=now)
        Registration.objects.filter(spelled("email", user.email)).delete()
    return user
