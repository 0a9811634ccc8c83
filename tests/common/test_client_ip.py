import pytest

from common import client_ip

PROXIES = ["192.0.2.1", "10.0.0.0/8", "::1"]


@pytest.mark.parametrize(
    ("proxies", "forwarded_for", "ip_address"),
    [
        ([], None, "192.0.2.1"),
        ([], "203.0.113.9", "192.0.2.1"),
        (["192.0.2.2"], "203.0.113.9", "192.0.2.1"),
        (PROXIES, "203.0.113.9", "203.0.113.9"),
        (PROXIES, "198.51.100.7, 203.0.113.9", "203.0.113.9"),
        (PROXIES, "198.51.100.7, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        (PROXIES, "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        (PROXIES, None, "192.0.2.1"),
        (PROXIES, "", "192.0.2.1"),
        (PROXIES, "2001:DB8::1", "2001:db8::1"),
        (PROXIES, "<script>", None),
        (PROXIES, "203.0.113.9,, ", "203.0.113.9"),
    ],
)
def test_only_entries_of_trusted_proxies_are_used(rf, settings, proxies, forwarded_for, ip_address):
    settings.TRUSTED_PROXIES = proxies
    headers = {} if forwarded_for is None else {"X-Forwarded-For": forwarded_for}
    request = rf.get("/", headers=headers, REMOTE_ADDR="192.0.2.1")
    assert client_ip.get_client_ip(request) == ip_address


def test_a_request_without_remote_addr_has_no_ip_address(rf):
    assert client_ip.get_client_ip(rf.get("/", REMOTE_ADDR="")) is None
