"""Which limits apply to a password attempt (NIST SP 800-63B-4, section 5.2.2).

Attempts from a known browser or a known network have limits of their own, so a stranger cannot use them up. All other
attempts are counted in three ways: for the account from their network, for the network, and for the account. After 100
wrong passwords in a row all other attempts are refused, until the account gets a new password or an administrator
unlocks it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from users import ids
from users.auth import known_networks, throttles
from users.auth.known_devices import Device
from users.auth.throttles import AttemptCounters, Counter, Limit
from users.rules import ip_addresses
from users.storage.models import User

_FIVE_MINUTES = timedelta(minutes=5)
_KEPT = timedelta(days=180)  # as long as a browser is known
_KEPT_FOR_UNKNOWN_EMAIL = timedelta(days=30)
_FOR_EVER = timedelta(days=365_000)

FROM_ONE_SOURCE = Limit(10, _FIVE_MINUTES)  # one account from one browser or network
BY_NETWORK = (Limit(30, _FIVE_MINUTES), Limit(300, _FIVE_MINUTES))  # an IPv4 address or IPv6 /64, and an IPv6 /48
BY_ACCOUNT = Limit(100, timedelta(hours=1))
IN_A_ROW = Limit(100, _FOR_EVER, locks=True)
IN_A_ROW_UNKNOWN_EMAIL = Limit(100, _KEPT_FOR_UNKNOWN_EMAIL, locks=True)  # strangers can invent any number of emails
IN_A_ROW_FROM_ONE_SOURCE = Limit(100, _KEPT, locks=True)  # after it, the browser or network is not known any more


@dataclass(frozen=True)
class ClaimedAccount:
    """The account that the typed email claims.

    `user` is a row with the user's columns, None if there is no such user. `is_counted` is false where the caller may
    not sign this user in even with the right password: the attempt is counted alike, but not for the account.
    """

    user: Any
    typed: str
    is_counted: bool = True

    @property
    def name(self) -> str:
        """Return the name of the account in the counters: the user's id, or the typed email."""
        if self.user is None:
            return f"nobody {self.typed}"
        return str(self.user.id) if self.is_counted else f"never {self.typed}"

    @property
    def user_id(self) -> str:
        """Return the id of the user whose account is counted, "" if there is none."""
        return str(self.user.id) if self.user is not None and self.is_counted else ""


def counters_for_pages(account: ClaimedAccount, device: Device, ip_address: str | None) -> AttemptCounters:
    """Return the counters of an attempt at the sign-in page, sent by `device` from `ip_address`."""
    counters, source = _AccountCounters("pages", account.name), f"device {device.id}"
    networks = ip_addresses.networks_of(ip_address)
    is_known = device.knows(account.user)
    return (counters.known(source) if is_known else None) or counters.unknown(networks, source)


def counters_for_verify(account: ClaimedAccount, key_id: str, ip_address: str | None) -> AttemptCounters:
    """Return the counters of an attempt that another application sends with its API key.

    The person signs in there from `ip_address`. If the application does not send it, the key stands for the network.
    """
    counters = _AccountCounters("verify", account.name)
    networks = [f"{key_id} {one}" for one in ip_addresses.networks_of(ip_address)] if ip_address else [key_id]
    source = f"network {networks[0]}"
    # One query for every email: the time does not tell whether there is such a user.
    is_known = known_networks.is_known(account.user_id, network_of(key_id, ip_address))
    return (counters.known(source) if is_known else None) or counters.unknown(networks, source)


def network_of(key_id: str, ip_address: str | None) -> str:
    """Return the name of a known network: the network of the IP address for all keys, or the key if there is none."""
    return ip_addresses.network_of(ip_address) if ip_address else key_id


def unlock(session: Session, *users: User) -> bool:
    """Delete all counters of the users, at both doors and from everywhere; tell whether there were any."""
    return throttles.reset_accounts(session, [_account_key(user.id) for user in users])


def is_locked(user: User) -> bool:
    """Tell whether passwords for the user are refused unchecked now, from at least one browser or network."""
    return throttles.is_any_used_up(_account_key(user.id))


@dataclass(frozen=True)
class _AccountCounters:
    """The counters of one account at one door."""

    door: str
    account: str

    def known(self, source: str) -> AttemptCounters | None:
        """Return the counters for a known browser or network, or None after too many failures in a row there."""
        in_a_row = self._in_a_row_from(source)
        if not throttles.has_attempts_left(in_a_row):
            return None
        return AttemptCounters((in_a_row, self._counter(source, FROM_ONE_SOURCE)), is_known=True)

    def unknown(self, networks: Sequence[str], source: str) -> AttemptCounters:
        """Return the counters for any other browser or network. After a success the `source` can be known again."""
        by_network = [
            Counter(throttles.counter_key(f"{self.door} from {network}"), limit)
            for network, limit in zip(networks, BY_NETWORK, strict=False)
        ]
        from_network = self._counter(f"network {networks[0]}", FROM_ONE_SOURCE)
        counters = (from_network, *by_network, self._counter("account", BY_ACCOUNT), self._in_a_row())
        return AttemptCounters(counters, resets=(self._in_a_row_from(source).key,))

    def _in_a_row_from(self, source: str) -> Counter:
        return self._counter(f"in a row {source}", IN_A_ROW_FROM_ONE_SOURCE)

    def _in_a_row(self) -> Counter:
        return self._counter("in a row", IN_A_ROW if ids.is_user_id(self.account) else IN_A_ROW_UNKNOWN_EMAIL)

    def _counter(self, what: str, limit: Limit) -> Counter:
        return Counter(
            throttles.counter_key(f"{self.door} {what} of {self.account}"), limit, _account_key(self.account)
        )


def _account_key(account: str) -> bytes:
    return throttles.counter_key(f"account {account}")
