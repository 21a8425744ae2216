"""What a password that is typed counts for (NIST SP 800-63B-4, section 5.2.2).

Attempts from a known browser or a known network have limits of their own, so that a stranger cannot use them up. All
others are counted for the account from their network, for the network and for the account. After 100 wrong passwords in
a row the account is closed to them, until it gets a new password or is unlocked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from users import ids, ip_addresses
from users.auth import known_networks, throttles
from users.auth.known_devices import Device
from users.auth.throttles import AttemptCounters, Counter, Limit
from users.storage.models import User

_FIVE_MINUTES = timedelta(minutes=5)
_REMEMBERED = timedelta(days=180)  # as long as a browser is known
_NOBODY_REMEMBERED = timedelta(days=30)
_FOR_EVER = timedelta(days=365_000)

FROM_ONE_SOURCE = Limit(10, _FIVE_MINUTES)  # one account from one browser or network
BY_NETWORK = (Limit(30, _FIVE_MINUTES), Limit(300, _FIVE_MINUTES))  # an IPv4 address or IPv6 /64, and an IPv6 /48
BY_ACCOUNT = Limit(100, timedelta(hours=1))
IN_A_ROW = Limit(100, _FOR_EVER, closes=True)
IN_A_ROW_NOBODY = Limit(100, _NOBODY_REMEMBERED, closes=True)  # strangers can think of any number of emails
IN_A_ROW_FROM_ONE_SOURCE = Limit(100, _REMEMBERED, closes=True)  # then it is not known any more


@dataclass(frozen=True)
class ClaimedAccount:
    """Who may be meant by what was typed as an email address.

    `user` is a row with what is known of them, None if there is no such user. `is_counted` is false where a right
    password could not succeed for a reason of the caller: the attempt is then counted alike, but not for the account.
    """

    user: Any
    typed: str
    is_counted: bool = True

    @property
    def account(self) -> str:
        """Return what is counted as the account: the user's id, or what was typed."""
        if self.user is None:
            return f"nobody {self.typed}"
        return str(self.user.id) if self.is_counted else f"never {self.typed}"

    @property
    def user_id(self) -> str:
        """Return the id of the user whose account is counted, nothing if there is none."""
        return str(self.user.id) if self.user is not None and self.is_counted else ""


def counters_for_pages(claimed: ClaimedAccount, device: Device, ip_address: str | None) -> AttemptCounters:
    """Return what a password counts for that `device` sends to the pages from `ip_address`."""
    counted, source = _Counted("pages", claimed.account), f"device {device.id}"
    is_known = device.knows(claimed.user)
    return (counted.known(source) if is_known else None) or counted.unknown(
        ip_addresses.networks_of(ip_address), source
    )


def counters_for_verify(claimed: ClaimedAccount, key_id: str, ip_address: str | None) -> AttemptCounters:
    """Return what a password counts for that another application sends with its API key.

    It came to that application from `ip_address`. Where that is not said, the key stands for the network.
    """
    counted = _Counted("verify", claimed.account)
    networks = [f"{key_id} {one}" for one in ip_addresses.networks_of(ip_address)] if ip_address else [key_id]
    source = f"network {networks[0]}"
    is_known = known_networks.is_known(claimed.user_id, network_of(key_id, ip_address))  # asked for everybody alike
    return (counted.known(source) if is_known else None) or counted.unknown(networks, source)


def network_of(key_id: str, ip_address: str | None) -> str:
    """Return what a network is remembered as: its own address for all keys, or the key where it is not said."""
    return ip_addresses.network_of(ip_address) if ip_address else key_id


def unlock(session: Session, user: User) -> bool:
    """Give the user all tries back, at both doors and from everywhere; tell whether any had been spent."""
    return throttles.restore_account(session, _account_key(user.id))


def is_locked(user: User) -> bool:
    """Tell whether passwords for the user are refused unchecked now, at least from somewhere."""
    return throttles.refuses(_account_key(user.id))


@dataclass(frozen=True)
class _Counted:
    """The rows about one account at one door."""

    door: str
    account: str

    def known(self, source: str) -> AttemptCounters | None:
        """Return what counts from a known browser or network, or None after too many failures in a row there."""
        in_a_row = self._in_a_row_from(source)
        if not throttles.has_left(in_a_row):
            return None
        return AttemptCounters((in_a_row, self._counter(source, FROM_ONE_SOURCE)), is_known=True)

    def unknown(self, networks: Sequence[str], source: str) -> AttemptCounters:
        """Return what counts from anywhere else. With a success the `source` can be known again."""
        by_network = [
            Counter(throttles.key(f"{self.door} from {network}"), limit)
            for network, limit in zip(networks, BY_NETWORK, strict=False)
        ]
        from_network = self._counter(f"network {networks[0]}", FROM_ONE_SOURCE)
        counters = (from_network, *by_network, self._counter("account", BY_ACCOUNT), self._in_a_row())
        return AttemptCounters(counters, ends=(self._in_a_row_from(source).key,))

    def _in_a_row_from(self, source: str) -> Counter:
        return self._counter(f"in a row {source}", IN_A_ROW_FROM_ONE_SOURCE)

    def _in_a_row(self) -> Counter:
        return self._counter("in a row", IN_A_ROW if ids.is_user_id(self.account) else IN_A_ROW_NOBODY)

    def _counter(self, what: str, limit: Limit) -> Counter:
        return Counter(throttles.key(f"{self.door} {what} of {self.account}"), limit, _account_key(self.account))


def _account_key(account: str) -> bytes:
    return throttles.key(f"account {account}")
