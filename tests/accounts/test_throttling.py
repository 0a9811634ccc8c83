"""Rate limits."""

from datetime import timedelta

import pytest

from accounts import throttling
from accounts.models import Throttle, User
from accounts.throttling import RateLimit, RateLimitExceeded, consume
from tests.concurrency import run_concurrently
from tests.factories import NOW

LOGIN_LIMIT = [RateLimit("sign-in", ("Ada", "192.0.2.1"))]


@pytest.fixture(autouse=True)
def _three_a_minute(settings, db):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "sign-in": (3, 60), "password": (1, 60)}


def consume_times(times, counters=LOGIN_LIMIT, now=NOW):
    for _ in range(times):
        consume(counters, now=now)


def test_a_request_over_the_limit_is_rejected_with_retry_after():
    consume_times(3)
    with pytest.raises(RateLimitExceeded) as caught:
        consume_times(1, now=NOW + timedelta(seconds=20))
    assert (caught.value.limit, caught.value.retry_after) == ("sign-in", 40)


def test_a_window_starts_with_the_first_request_and_expires():
    consume_times(3)
    consume_times(3, now=NOW + timedelta(seconds=60))
    with pytest.raises(RateLimitExceeded):
        consume_times(1, now=NOW + timedelta(seconds=119))


def test_rejected_requests_do_not_extend_the_window():
    consume_times(3)
    for _ in range(5):
        with pytest.raises(RateLimitExceeded):
            consume_times(1, now=NOW + timedelta(seconds=59))
    consume_times(1, now=NOW + timedelta(seconds=60))


@pytest.mark.parametrize("of", [("Bob", "192.0.2.1"), ("Ada", "192.0.2.2"), ("Ada192.0.2.1",)])
def test_different_keys_are_counted_separately(of):
    consume_times(3)
    consume_times(3, [RateLimit("sign-in", of)])


def test_a_username_in_another_case_has_the_same_counter():
    consume_times(3)
    with pytest.raises(RateLimitExceeded):
        consume_times(1, [RateLimit("sign-in", ("ADA", "192.0.2.1"))])


def test_a_refunded_request_is_not_counted():
    for _ in range(9):
        consume_times(1)
        throttling.refund(LOGIN_LIMIT)


def test_a_reset_starts_a_new_window():
    consume_times(3)
    throttling.reset(LOGIN_LIMIT)
    consume_times(3)


def test_expired_windows_are_deleted():
    consume_times(1)
    consume_times(1, [RateLimit("password", ("1",))], now=NOW + timedelta(seconds=30))
    assert throttling.delete_expired(NOW + timedelta(seconds=60)) == 1
    assert Throttle.objects.count() == 1


def test_the_key_is_stored_only_as_a_hash():
    consume_times(1)
    assert len(bytes(Throttle.objects.get().key)) == 32


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_do_not_exceed_the_limit():
    outcomes = run_concurrently(*[lambda: consume_times(1)] * 20)
    assert sum(isinstance(outcome, RateLimitExceeded) for outcome in outcomes) == 17
    assert outcomes.count(None) == 3


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", {"192.0.2.7": 1}),
        ("::ffff:192.0.2.7", {"192.0.2.7": 1}),
        (
            "2001:db8:1:203:3::4",
            {"2001:db8:1:203::/64": 1, "2001:db8:1:200::/56": 4, "2001:db8:1::/48": 16},
        ),
        (None, {"": 1}),
    ],
)
def test_an_ip_address_is_counted_by_its_networks(address, counted):
    assert throttling.networks(address) == counted


@pytest.mark.parametrize(
    ("network", "factor"), [("2001:db8:0:{:x}::1", 4), ("2001:db8:0:{:x}00::1", 16)]
)
def test_many_networks_of_one_provider_share_a_limit(settings, network, factor):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "register": (2, 60)}
    clients = (network.format(number) for number in range(1, 100))
    for _ in range(2 * factor):
        consume(throttling.client_limits("register", next(clients)), now=NOW)
    with pytest.raises(RateLimitExceeded):
        consume(throttling.client_limits("register", next(clients)), now=NOW)


@pytest.mark.parametrize(
    ("limit", "limits"),
    [
        ("sign-in-address", throttling.login_limits),
        ("mail-client", throttling.mail_limits),
    ],
)
def test_a_client_over_its_own_limit_adds_no_counters(settings, limit, limits):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, limit: (2, 60)}
    for number in range(2):
        consume(limits(f"name{number}", "192.0.2.1"), now=NOW)
    counters = Throttle.objects.count()
    for number in range(2, 9):
        with pytest.raises(RateLimitExceeded) as caught:
            consume(limits(f"name{number}", "192.0.2.1"), now=NOW)
        assert caught.value.limit == limit
    assert Throttle.objects.count() == counters


class TestOneUsernameFromManyClients:
    @pytest.fixture(autouse=True)
    def _five_an_hour(self, settings):
        settings.RATE_LIMITS = {
            **settings.RATE_LIMITS,
            "sign-in": (3, 60),
            "sign-in-name": (5, 3600),
            "sign-in-slowed": (1, 900),
        }

    def sign_in(self, client, now=NOW):
        counters = throttling.login_limits("Ada", client)
        throttling.consume(counters, now=now)
        return counters

    def test_each_client_has_one_attempt_per_window_after_the_shared_limit_is_reached(self):
        for number in range(5):
            self.sign_in(f"192.0.2.{number}")
        for client in ("198.51.100.1", "198.51.100.2"):
            self.sign_in(client)
            with pytest.raises(RateLimitExceeded) as caught:
                self.sign_in(client)
            assert (caught.value.limit, caught.value.retry_after) == ("sign-in-slowed", 900)
        self.sign_in("198.51.100.1", NOW + timedelta(seconds=900))

    def test_a_client_with_the_right_password_is_never_limited(self):
        for number in range(100):
            self.sign_in(f"192.0.2.{number}")
            for _ in range(2):
                throttling.refund_login(self.sign_in("198.51.100.1"))

    def test_an_ipv6_client_has_one_attempt_for_all_its_networks(self):
        for number in range(5):
            self.sign_in(f"192.0.2.{number}")
        self.sign_in("2001:db8:1:1::1")
        with pytest.raises(RateLimitExceeded):
            self.sign_in("2001:db8:1:2::1")

    def test_another_customer_of_the_same_provider_has_their_own_attempt(self):
        for number in range(5):
            self.sign_in(f"192.0.2.{number}")
        self.sign_in("2001:db8:1:100::1")
        self.sign_in("2001:db8:1:200::1")

    def test_clearing_the_lockout_allows_the_user_to_sign_in(self, owner):
        User.objects.update(username="ada")
        owner.refresh_from_db()
        for number in range(6):
            self.sign_in(f"192.0.2.{number}")
        throttling.clear_lockout(owner)
        for _ in range(2):
            self.sign_in("192.0.2.5")


class TestMailToOneEmail:
    """Mail that strangers have sent to the owner's e-mail is limited, but not that of the owner."""

    @pytest.fixture(autouse=True)
    def _five_a_day(self, settings):
        settings.RATE_LIMITS = {
            **settings.RATE_LIMITS,
            "mail": (3, 3600),
            "mail-address": (5, 86400),
            "mail-slowed": (1, 3600),
        }

    def request_mail(self, client, now=NOW, email="owner@example.org"):
        consume(throttling.mail_limits(email, client), now=now)

    def use_up(self):
        for number in range(5):
            self.request_mail(f"192.0.2.{number}")

    def test_the_owner_gets_one_mail_an_hour_after_strangers_reached_the_limit(self):
        self.use_up()
        self.request_mail("198.51.100.1")
        with pytest.raises(RateLimitExceeded) as caught:
            self.request_mail("198.51.100.1")
        assert (caught.value.limit, caught.value.retry_after) == ("mail-slowed", 3600)
        self.request_mail("198.51.100.1", NOW + timedelta(hours=1))

    def test_staff_can_have_one_link_mailed_after_the_limit_is_reached(self, staff):
        self.use_up()
        consume(throttling.staff_mail_limits("owner@example.org", staff.pk), now=NOW)
        with pytest.raises(RateLimitExceeded):
            consume(throttling.staff_mail_limits("owner@example.org", staff.pk), now=NOW)

    def test_clearing_the_lockout_allows_mail_to_the_owner(self, owner):
        self.use_up()
        for client in ("198.51.100.1", "192.0.2.1"):
            self.request_mail(client)
        self.request_mail("198.51.100.1", email="stranger@example.org")
        throttling.clear_lockout(owner)
        for client in ("198.51.100.1", "192.0.2.1"):
            for _ in range(2):
                self.request_mail(client)

    @pytest.mark.parametrize(
        ("network", "factor"), [("2001:db8:0:{:x}::1", 4), ("2001:db8:0:{:x}00::1", 16)]
    )
    def test_many_networks_of_one_provider_share_a_limit(self, settings, network, factor):
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "mail-address": (1000, 86400)}
        clients = (network.format(number) for number in range(1, 100))
        for _ in range(3 * factor):
            self.request_mail(next(clients))
        with pytest.raises(RateLimitExceeded) as caught:
            self.request_mail(next(clients))
        assert caught.value.limit == "mail"
