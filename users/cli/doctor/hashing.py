"""The checks of the password hash, which measures its speed, and of the hashes that other systems made."""

import time
from concurrent.futures import ThreadPoolExecutor

from users.auth import decoys, hasher
from users.cli.doctor.findings import Finding, failed, ok
from users.errors import Unavailable
from users.passwords.hash_queue import Share
from users.settings import Settings


def check_hashing(given: Settings) -> Finding:
    """Check that the hash is strong, and measure it."""
    alone = _seconds_to_hash(1, 1)
    slots, rounds = given.hash_slots, max(1, min(20, int(0.5 / alone)))  # at most a second, or one hash each
    per_second = slots * rounds / _seconds_to_hash(slots, rounds)
    found = f"argon2id {given.password_hash}, {alone * 1000:.0f} ms a hash, {per_second:.0f} a second ({slots} at once)"
    if given.password_hash.below_floor():
        return failed("password hash", f"{found}. Too weak for real passwords: unset ENROL_PASSWORD_HASH.")
    return ok("password hash", found)


def check_imported_hashes() -> Finding:
    """Tell how many users have not signed in since their hash was imported."""
    subject = "imported hashes"
    try:
        makes = decoys.count()
    except Unavailable:
        return failed(subject, "They are in the database: mend that first.")
    if not makes:
        return ok(subject, "none")
    number, each = sum(makes.values()), ", ".join(f"{make} {many}" for make, many in makes.items())
    return ok(
        subject, f"{number} {'user still has' if number == 1 else 'users still have'} a hash made elsewhere ({each})"
    )


def _seconds_to_hash(at_once: int, rounds: int) -> float:
    """Return the seconds that `at_once` threads take to hash `rounds` passwords each."""
    current = hasher.current()

    def hash_all(_number: int) -> None:
        with current.place(Share.CREATE) as place:
            for _ in range(rounds):
                place.hash("the time that this takes is the time of a sign-up")

    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as callers:
        list(callers.map(hash_all, range(at_once)))
    return time.perf_counter() - start
