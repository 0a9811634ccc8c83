"""What happens to devices, and who is told of it."""

from uuid import UUID, uuid4

import pytest

from devices import events
from devices.events import Event


@pytest.mark.parametrize("command", [None, UUID(int=1)])
def test_an_event_is_told_and_understood(command) -> None:
    event = Event("command", uuid4(), command)
    assert Event.parse(str(event)) == event
    assert len(str(event)) < 100


@pytest.mark.parametrize("text", ["", "reading", "reading x", f"tea {UUID(int=1)}", "a b c d"])
def test_what_is_no_event_is_refused(text) -> None:
    with pytest.raises(events.NotAnEvent):
        Event.parse(text)


def test_nobody_is_told_by_a_process_that_serves_no_requests(monkeypatch) -> None:
    monkeypatch.setattr(events, "_teller", lambda: pytest.fail("a thread was started"))
    events.note("reading", device_id=uuid4())


def test_a_teller_outlives_what_it_cannot_tell(monkeypatch, transactional_db, caplog) -> None:
    teller = events.Teller()
    monkeypatch.setattr(events, "PAUSE", 0)
    monkeypatch.setattr(events, "TELL_WATCHED", "SELECT 1 / 0")
    teller.start()
    teller.note(Event("reading", uuid4()))
    while not caplog.records:
        assert teller.is_alive()
    teller.stop()
    assert "nobody was told of 1 events" in caplog.text
