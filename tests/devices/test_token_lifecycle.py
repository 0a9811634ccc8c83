"""However often a device's token is rotated, and whether it hears of it or not: it gets in.

TOKEN_LIVES says how many lives are tried, 10 unless it does: `TOKEN_LIVES=500` to look closely.
"""

import os
from datetime import timedelta

from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from accounts.models import alive
from devices import services as device_services
from devices.models import DeviceToken
from tests.factories import NOW, DeviceFactory

LIVES = settings(
    max_examples=int(os.environ.get("TOKEN_LIVES", "10")),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
MINUTES = st.sampled_from([1, 30, 59, 60, 61, 24 * 60, 90 * 24 * 60])


class LifeOfADevice(RuleBasedStateMachine):
    """A device whose token is rotated, and which gets the new one, or does not, or later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.undo = transaction.atomic()
        self.undo.__enter__()
        self.device = DeviceFactory.create()
        self.speaks_with = device_services.issue_token(self.device)[0]
        self.was_given: DeviceToken | None = None

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.undo.__exit__(None, None, None)

    def lives(self, token: DeviceToken) -> bool:
        return DeviceToken.objects.filter(alive(self.now), pk=token.pk).exists()

    @rule(arrives=st.booleans(), whole=st.booleans())
    def rotate(self, arrives: bool, whole: bool) -> None:
        if whole:
            new, _ = device_services.rotate_token(self.device, now=self.now)
        else:
            newest = self.device.tokens.filter(alive(self.now)).latest("created_at")
            new, _ = device_services.rotate_one_token(newest, now=self.now)
        if arrives:
            self.was_given = new

    @rule(minutes=MINUTES)
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def speak(self) -> None:
        if self.was_given and self.lives(self.was_given):
            self.speaks_with = self.was_given
        self.was_given = None
        token = DeviceToken.objects.get(pk=self.speaks_with.pk)
        assert self.lives(token)
        device_services.record_token_use(token, now=self.now)

    @invariant()
    def it_is_never_locked_out(self) -> None:
        assert self.lives(self.speaks_with)

    @invariant()
    def two_tokens_live_at_most(self) -> None:
        assert 1 <= self.device.tokens.filter(alive(self.now)).count() <= 2


def test_nothing_in_the_life_of_a_device_locks_it_out(db: None) -> None:
    run_state_machine_as_test(LifeOfADevice, settings=LIVES)
