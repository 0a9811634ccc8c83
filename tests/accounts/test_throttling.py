"""How often something may be tried."""

from datetime import timedelta

import pytest

from accounts import throttling
from accounts.models import Throttle, User
from accounts.throttling import RateLimit, RateLimitExceeded, consume
from tests.concurrency import at_once
from tests.factories import NOW

DOOR = [RateLimit("sign-in", ("Ada", "192.0.2.1"))]


@pytest.fixture(autouse=True)
def _three_a_minute(settings, db):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "sign-in": (3, 60), "password": (1, 60)}


def tried(times, counters=DOOR, now=NOW):
    for _ in range(times):
        consume(counters, now=now)


def test_a_limit_lets_so_many_through_and_tells_when_to_come_again():
    tried(3)
    with pytest.raises(RateLimitExceeded) as refused:
        tried(1, now=NOW + timedelta(seconds=20))
    assert (refused.value.limit, refused.value.retry_after) == ("sign-in", 40)


def test_a_window_begins_with_the_first_try_and_ends_by_itself():
    tried(3)
    tried(3, now=NOW + timedelta(seconds=60))
    with pytest.raises(RateLimitExceeded):
        tried(1, now=NOW + timedelta(seconds=119))


def test_a_try_that_was_refused_makes_the_wait_no_longer():
    tried(3)
    for _ in range(5):
        with pytest.raises(RateLimitExceeded):
            tried(1, now=NOW + timedelta(seconds=59))
    tried(1, now=NOW + timedelta(seconds=60))


@pytest.mark.parametrize("of", [("Bob", "192.0.2.1"), ("Ada", "192.0.2.2"), ("Ada192.0.2.1",)])
def test_everybody_is_counted_apart(of):
    tried(3)
    tried(3, [RateLimit("sign-in", of)])


def test_a_name_in_another_case_is_the_same():
    tried(3)
    with pytest.raises(RateLimitExceeded):
        tried(1, [RateLimit("sign-in", ("ADA", "192.0.2.1"))])


def test_a_try_given_back_was_none():
    for _ in range(9):
        tried(1)
        throttling.refund(DOOR)


def test_what_is_forgotten_begins_anew():
    tried(3)
    throttling.reset(DOOR)
    tried(3)


def test_windows_that_are_over_are_removed():
    tried(1)
    tried(1, [RateLimit("password", ("1",))], now=NOW + timedelta(seconds=30))
    assert throttling.delete_expired(NOW + timedelta(seconds=60)) == 1
    assert Throttle.objects.count() == 1


def test_nobody_can_read_who_was_counted():
    tried(1)
    assert len(bytes(Throttle.objects.get().key)) == 32


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_no_more_get_through_than_may():
    outcomes = at_once(*[lambda: tried(1)] * 20)
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
def test_a_client_of_ipv6_is_counted_by_the_networks_it_may_have(address, counted):
    assert throttling.networks(address) == counted


@pytest.mark.parametrize(
    ("network", "factor"), [("2001:db8:0:{:x}::1", 4), ("2001:db8:0:{:x}00::1", 16)]
)
def test_many_networks_of_one_client_have_a_limit_together(settings, network, factor):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "register": (2, 60)}
    clients = (network.format(number) for number in range(1, 100))
    for _ in range(2 * factor):
        consume(throttling.of_client("register", next(clients)), now=NOW)
    with pytest.raises(RateLimitExceeded):
        consume(throttling.of_client("register", next(clients)), now=NOW)


class TestOneNameFromManyClients:
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

    def test_each_client_has_one_try_in_a_while_when_the_tries_of_all_are_used_up(self):
        for number in range(5):
            self.sign_in(f"192.0.2.{number}")
        for client in ("198.51.100.1", "198.51.100.2"):
            self.sign_in(client)
            with pytest.raises(RateLimitExceeded) as refused:
                self.sign_in(client)
            assert (refused.value.limit, refused.value.retry_after) == ("sign-in-slowed", 900)
        self.sign_in("198.51.100.1", NOW + timedelta(seconds=900))

    def test_the_owner_signs_in_at_any_time_in_the_middle_of_it(self):
        for number in range(100):
            self.sign_in(f"192.0.2.{number}")
            for _ in range(2):
                throttling.give_back_sign_in(self.sign_in("198.51.100.1"))

    def test_a_client_of_ipv6_has_one_try_for_all_its_networks(self):
        for number in range(5):
            self.sign_in(f"192.0.2.{number}")
        self.sign_in("2001:db8:1:1::1")
        with pytest.raises(RateLimitExceeded):
            self.sign_in("2001:db8:1:2::1")

    def test_another_customer_of_the_same_provider_has_a_try_of_their_own(self):
        for number in range(5):
            self.sign_in(f"192.0.2.{number}")
        self.sign_in("2001:db8:1:100::1")
        self.sign_in("2001:db8:1:200::1")

    def test_staff_let_the_user_in_again(self, owner):
        User.objects.update(username="ada")
        owner.refresh_from_db()
        for number in range(6):
            self.sign_in(f"192.0.2.{number}")
        throttling.clear_lockout(owner)
        for _ in range(2):
            self.sign_in("192.0.2.5")


class TestMailToOneAddress:
    """What a stranger has mailed to the owner, until no more is mailed for the stranger."""

    @pytest.fixture(autouse=True)
    def _five_a_day(self, settings):
        settings.RATE_LIMITS = {
            **settings.RATE_LIMITS,
            "mail": (3, 3600),
            "mail-address": (5, 86400),
            "mail-slowed": (1, 3600),
        }

    def ask(self, client, now=NOW, email="owner@example.org"):
        consume(throttling.mail_limits(email, client), now=now)

    def use_up(self):
        for number in range(5):
            self.ask(f"192.0.2.{number}")

    def test_the_owner_still_gets_one_when_strangers_have_used_them_up(self):
        self.use_up()
        self.ask("198.51.100.1")
        with pytest.raises(RateLimitExceeded) as refused:
            self.ask("198.51.100.1")
        assert (refused.value.limit, refused.value.retry_after) == ("mail-slowed", 3600)
        self.ask("198.51.100.1", NOW + timedelta(hours=1))

    def test_staff_can_still_have_the_link_mailed(self, staff):
        self.use_up()
        consume(throttling.staff_mail_limits("owner@example.org", staff.pk), now=NOW)
        with pytest.raises(RateLimitExceeded):
            consume(throttling.staff_mail_limits("owner@example.org", staff.pk), now=NOW)

    def test_staff_let_the_owner_be_mailed_to_again(self, owner):
        self.use_up()
        for client in ("198.51.100.1", "192.0.2.1"):
            self.ask(client)
        self.ask("198.51.100.1", email="stranger@example.org")
        throttling.clear_lockout(owner)
        for client in ("198.51.100.1", "192.0.2.1"):
            for _ in range(2):
                self.ask(client)

    @pytest.mark.parametrize(
        ("network", "factor"), [("2001:db8:0:{:x}::1", 4), ("2001:db8:0:{:x}00::1", 16)]
    )
    def test_many_networks_of_one_client_have_a_limit_together(self, settings, network, factor):
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "mail-address": (1000, 86400)}
        clients = (network.format(number) for number in range(1, 100))
        for _ in range(3 * factor):
            self.ask(next(clients))
        with pytest.raises(RateLimitExceeded) as refused:
            self.ask(next(clients))
        assert refused.value.limit == "mail"
