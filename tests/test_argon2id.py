"""argon2id in kept memory: the same hashes as argon2-cffi makes, in the same memory each time."""

import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import argon2
import pytest

from users import argon2id
from users.argon2id import HashParameters

COSTS = [(8, 1, 1), (100, 1, 3), (19456, 2, 1), (65536, 3, 4)]  # KiB, passes, lanes
PASSWORDS = ["", "correct horse battery", "Zoë's\x00password", "x" * 1024]


@pytest.mark.parametrize("cost", COSTS, ids=str)
@pytest.mark.parametrize("password", PASSWORDS, ids=len)
def test_argon2_cffi_takes_our_hashes_and_we_take_its(cost: tuple[int, int, int], password: str) -> None:
    parameters = HashParameters(*cost)
    theirs = argon2.PasswordHasher(parameters.time, parameters.memory, parameters.lanes)
    assert theirs.verify(argon2id.hash_of(password.encode(), parameters), password)
    assert argon2id.is_hash_of(theirs.hash(password), password.encode())
    assert not argon2id.is_hash_of(theirs.hash(password), password.encode() + b" ")


def test_a_salt_and_a_digest_of_other_lengths_are_read() -> None:
    others = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=33, salt_len=9).hash("fish")
    assert argon2id.is_hash_of(others, b"fish")
    assert not argon2id.is_hash_of(others, b"fishes")


@pytest.mark.parametrize(
    "text", ["", "fish", "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$ZGlnZXN0", "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$"]
)
def test_what_is_no_hash_of_argon2id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an encoded hash"):
        argon2id.is_hash_of(text, b"fish")


def test_parameters_that_argon2_cannot_run_are_refused() -> None:
    with pytest.raises(argon2.exceptions.HashingError):
        argon2id.hash_of(b"fish", HashParameters(memory=8, time=1, lanes=2))


def test_a_thread_keeps_its_memory_and_asks_for_more_only_when_it_needs_more() -> None:
    def hash_all() -> list[object]:
        found: list[object] = []
        for memory in (64, 8, 64, 4096, 64):
            argon2id.hash_of(b"fish", HashParameters(memory, 1, 1))
            found.append(argon2id._kept.block)
        return found

    with ThreadPoolExecutor(1) as thread:
        first, *second, third, last = thread.submit(hash_all).result()
    assert second == [first, first]
    assert third is not first
    assert last is third


def test_no_password_and_no_state_stays_in_the_memory() -> None:
    def hash_and_look() -> bytes:
        argon2id.hash_of(b"correct horse battery", HashParameters(64, 1, 1))
        assert argon2id._kept.block
        return argon2id._kept.block[:]

    with ThreadPoolExecutor(1) as thread:
        assert not any(thread.submit(hash_and_look).result())


def test_threads_do_not_share_memory() -> None:
    both = threading.Barrier(2, timeout=10)

    def hash_many(password: bytes) -> bool:
        both.wait()
        parameters = HashParameters(1024, 2, 2)
        return all(argon2id.is_hash_of(argon2id.hash_of(password, parameters), password) for _ in range(50))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(hash_many, (b"fish", b"horse"))) == [True, True]


def test_a_hundred_hashes_take_no_more_memory_than_one() -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs Linux's /proc")
    program = f"""
import pathlib
from users import argon2id
def peak():
    return int(pathlib.Path("{status}").read_text().partition("VmHWM:")[2].split()[0])
before = peak()
for _ in range(30):
    argon2id.is_hash_of(argon2id.hash_of(b"fish", argon2id.HashParameters(65536, 1, 4)), b"fish")
print(peak() - before)
"""
    used = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert 65536 <= used < 65536 + 4096


def test_where_no_code_can_be_made_at_run_time_argon2_asks_the_system_for_memory() -> None:
    program = """
from argon2.low_level import ffi
def refuse(*_):
    raise MemoryError
class Refusing:
    callback = staticmethod(refuse)
    def __getattr__(self, name):
        return getattr(ffi, name)
import argon2.low_level
argon2.low_level.ffi = Refusing()
from users import argon2id
assert argon2id._ALLOCATE == ffi.NULL
print(argon2id.hash_of(b"fish", argon2id.HashParameters(64, 1, 1)))
"""
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\$argon2id\$v=19\$m=64,t=1,p=1\$\S+\n", made)
    assert argon2id.is_hash_of(made.strip(), b"fish")
