"""Which network counts as one caller."""

import pytest

from users.rules import ip_addresses


@pytest.mark.parametrize(
    ("ip_address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("192.0.2.1\n", "unknown"),
        ("somewhere", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_network_of(ip_address: str | None, network: str) -> None:
    assert ip_addresses.network_of(ip_address) == network
