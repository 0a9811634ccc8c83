"""State machine: rotation never locks a device out, whether it receives the new token or not.

TOKEN_LIVES sets the number of examples (default 10).
"""

import os
from datetime import timedelta

from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from accounts.models import active_tokens
from devices import services as device_services
from devices.models import DeviceToken
from tests.factories import NOW, DeviceFactory

SETTINGS = settings(
    max_examples=int(os.environ.get("TOKEN_LIVES", "10")),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
MINUTES = st.sampled_from([1, 30, 59, 60, 61, 24 * 60, 90 * 24 * 60])


class RotationMachine(RuleBasedStateMachine):
    """A device whose token is rotated. It receives the new token, or not, or later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.device = DeviceFactory.create()
        self.current_token = device_services.issue_token(self.device)[0]
        self.received_token: DeviceToken | None = None

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    def is_active(self, token: DeviceToken) -> bool:
        return DeviceToken.objects.filter(active_tokens(self.now), pk=token.pk).exists()

    @rule(arrives=st.booleans(), all_tokens=st.booleans())
    def rotate(self, arrives: bool, all_tokens: bool) -> None:
        if all_tokens:
            new, _ = device_services.rotate_token(self.device, now=self.now)
        else:
            newest = self.device.tokens.filter(active_tokens(self.now)).latest("created_at")
            new, _ = device_services.rotate_one_token(newest, now=self.now)
        if arrives:
            self.received_token = new

    @rule(minutes=MINUTES)
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def send_request(self) -> None:
        if self.received_token and self.is_active(self.received_token):
            self.current_token = self.received_token
        self.received_token = None
        token = DeviceToken.objects.get(pk=self.current_token.pk)
        assert self.is_active(token)
        device_services.record_token_use(token, now=self.now)

    @invariant()
    def the_device_is_never_locked_out(self) -> None:
        assert self.is_active(self.current_token)

    @invariant()
    def at_most_two_tokens_are_active(self) -> None:
        assert 1 <= self.device.tokens.filter(active_tokens(self.now)).count() <= 2


def test_rotations_never_lock_a_device_out(db: None) -> None:
    run_state_machine_as_test(RotationMachine, settings=SETTINGS)
