import pytest

from accounts import addresses


@pytest.mark.parametrize(
    ("proxies", "told", "address"),
    [
        (0, None, "192.0.2.1"),
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.7, 203.0.113.9", "198.51.100.7"),
        (2, "203.0.113.9", "203.0.113.9"),
        (1, None, "192.0.2.1"),
        (1, "2001:DB8::1", "2001:db8::1"),
        (1, "<script>", None),
        (1, "203.0.113.9,, ", "203.0.113.9"),
    ],
)
def test_as_many_proxies_are_believed_as_there_are(rf, settings, proxies, told, address):
    settings.TRUSTED_PROXIES = proxies
    headers = {} if told is None else {"X-Forwarded-For": told}
    request = rf.get("/", headers=headers, REMOTE_ADDR="192.0.2.1")
    assert addresses.of(request) == address


def test_where_there_is_none_there_is_none(rf):
    assert addresses.of(rf.get("/", REMOTE_ADDR="")) is None
