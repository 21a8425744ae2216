"""What a password that is typed counts for (NIST SP 800-63B-4, section 5.2.2).

Who tries from where the account has been used before, a known browser or a known network, is counted there alone: a
stranger cannot keep that person out. Everybody else is counted for the account from their network, for the network and
for the account. After 100 wrong passwords in a row the account is closed to everybody else until it gets a new password
or is unlocked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from users import ids, known_networks, limits, throttles
from users.known_devices import Device
from users.models import User
from users.throttles import Count, Limit, Tries

_FIVE_MINUTES = timedelta(minutes=5)
_REMEMBERED = timedelta(days=180)  # as long as a browser is known
_FOR_EVER = timedelta(days=365_000)

FROM_ONE_PLACE = Limit(10, _FIVE_MINUTES)  # one account from one browser or network
BY_NETWORK = (Limit(30, _FIVE_MINUTES), Limit(300, _FIVE_MINUTES))  # an IPv4 address or IPv6 /64, and an IPv6 /48
BY_ACCOUNT = Limit(100, timedelta(hours=1))
IN_A_ROW = Limit(100, _FOR_EVER, closes=True)
IN_A_ROW_NOBODY = Limit(100, _REMEMBERED, closes=True)  # an address without an account is not kept for ever
IN_A_ROW_FROM_ONE_PLACE = Limit(100, _REMEMBERED, closes=True)  # then the place is not known any more


@dataclass(frozen=True)
class Candidate:
    """Who may be meant by what was typed as an email address."""

    user: User | None
    can_succeed: bool  # with the right password, at this door and for this caller
    typed: str

    @property
    def somebody(self) -> User | None:
        """Return the user for whose account an attempt counts.

        One that no password could bring to success is counted alike, but not for the user's own account.
        """
        return self.user if self.can_succeed else None

    @property
    def account(self) -> str:
        """Return what is counted as the account."""
        return self.somebody.id if self.somebody else f"nobody {self.typed}"


def at_pages(candidate: Candidate, device: Device, address: str | None) -> Tries:
    """Return what a password counts for that `device` sends to the pages from `address`."""
    counted = _Counted("pages", candidate.account)
    tries = None
    if candidate.somebody and device.knows(candidate.somebody):
        tries = counted.known(f"device {device.id}")
    return tries or counted.unknown(limits.networks(address))


def at_verify(candidate: Candidate, key_id: str, ip_address: str | None) -> Tries:
    """Return what a password counts for that another application sends with its API key.

    It came to that application from `ip_address`. Where that is not said, the key stands for the network.
    """
    counted = _Counted("verify", candidate.account)
    networks = [f"{key_id} {one}" for one in limits.networks(ip_address)] if ip_address else [key_id]
    tries = None
    user_id = candidate.somebody.id if candidate.somebody else ""  # asked alike: the time does not tell who is there
    if known_networks.is_known(user_id, network_of(key_id, ip_address)):
        tries = counted.known(f"network {networks[0]}")
    return tries or counted.unknown(networks)


def network_of(key_id: str, ip_address: str | None) -> str:
    """Return what a network is remembered as: its own address for all keys, or the key where it is not said."""
    return limits.network(ip_address) if ip_address else key_id


def unlock(session: Session, user: User) -> bool:
    """Give the user all tries back, at both doors and from everywhere; tell whether any had been spent."""
    return throttles.restore_account(session, _account_key(user.id))


def is_locked(user: User) -> bool:
    """Tell whether passwords for the user are refused unseen now, at least from somewhere."""
    return throttles.refuses(_account_key(user.id))


@dataclass(frozen=True)
class _Counted:
    """The rows about one account at one door."""

    door: str
    account: str

    def known(self, place: str) -> Tries | None:
        """Return what counts at a known place, or None after too many failures in a row there."""
        in_a_row = self._count(f"in a row {place}", IN_A_ROW_FROM_ONE_PLACE)
        if not throttles.has_left(in_a_row):
            return None
        return Tries((in_a_row, self._count(place, FROM_ONE_PLACE)), ends=(self._in_a_row().key,))

    def unknown(self, networks: Sequence[str]) -> Tries:
        """Return what counts anywhere else."""
        by_network = [
            Count(throttles.key(f"{self.door} from {network}"), limit)
            for network, limit in zip(networks, BY_NETWORK, strict=False)
        ]
        from_network = self._count(f"network {networks[0]}", FROM_ONE_PLACE)
        return Tries((from_network, *by_network, self._count("account", BY_ACCOUNT), self._in_a_row()))

    def _in_a_row(self) -> Count:
        return self._count("in a row", IN_A_ROW if ids.is_user_id(self.account) else IN_A_ROW_NOBODY)

    def _count(self, what: str, limit: Limit) -> Count:
        return Count(throttles.key(f"{self.door} {what} of {self.account}"), limit, _account_key(self.account))


def _account_key(account: str) -> bytes:
    return throttles.key(f"account {account}")
