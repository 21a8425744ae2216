"""argon2id in kept memory: the same hashes as argon2-cffi's, each time in the same memory."""

import mmap
import re
import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import argon2
import pytest
from argon2.low_level import ffi

from users.passwords import argon2id
from users.passwords.argon2id import HashParameters

COSTS = [(8, 1, 1), (100, 1, 3), (19456, 2, 1), (65536, 3, 4)]  # KiB, passes, lanes
PASSWORDS = ["", "correct horse battery", "Zoë's\x00password", "x" * 1024]
CASES = [(cost, password) for cost in COSTS for password in (PASSWORDS if cost != COSTS[-1] else PASSWORDS[-1:])]


@pytest.mark.parametrize(("cost", "password"), CASES, ids=lambda one: str(one[:20]))
def test_same_hashes_as_argon2_cffi(cost: tuple[int, int, int], password: str) -> None:
    """argon2-cffi verifies our hashes, and we verify its hashes."""
    parameters = HashParameters(*cost)
    theirs = argon2.PasswordHasher(parameters.time, parameters.memory, parameters.lanes)
    assert theirs.verify(argon2id.hash_of(password.encode(), parameters), password)
    assert argon2id.is_hash_of(theirs.hash(password), password.encode())
    assert not argon2id.is_hash_of(theirs.hash(password), password.encode() + b" ")


def test_other_lengths() -> None:
    """A salt and a digest of other lengths are read."""
    others = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, hash_len=33, salt_len=9).hash("fish")
    assert argon2id.is_hash_of(others, b"fish")
    assert not argon2id.is_hash_of(others, b"fishes")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fish",
        "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$ZGlnZXN0",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbH$ZGlnZXN0",  # a salt of 7 bytes; argon2 asks for 8
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$ZGln",  # a digest of 3 bytes; argon2 asks for 4
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$ZGlnZXN0Z",  # no base64
        *(
            f"$argon2id$v=19${cost}$c2FsdHNhbHQ$ZGlnZXN0"
            for cost in (
                "m=0,t=1,p=1",
                "m=8,t=0,p=1",
                "m=8,t=1,p=0",
                "m=15,t=1,p=2",
                "m=99999999,t=1,p=1",
                "m=4294967295,t=1,p=1",
                "m=99999999999999999999,t=1,p=1",
                "m=8,t=4294967295,p=1",
                "m=4096,t=1,p=256",
                "t=1,m=8,p=1",
            )
        ),
    ],
)
def test_malformed_hashes(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an encoded hash|not parameters|Invalid base64"):
        argon2id.is_hash_of(text, b"fish")


def test_impossible_parameters() -> None:
    with pytest.raises(argon2.exceptions.HashingError):
        argon2id.hash_of(b"fish", HashParameters(memory=8, time=1, lanes=2))


def test_thread_keeps_memory() -> None:
    """A thread keeps the memory of its last hash and no more."""

    def hash_all() -> list[mmap.mmap | None]:
        found = []
        for memory in (64, 64, 4096, 64):
            argon2id.hash_of(b"fish", HashParameters(memory, 1, 1))
            found.append(argon2id._kept.block)
        return found

    with ThreadPoolExecutor(1) as thread:
        first, second, costly, last = thread.submit(hash_all).result()
    assert second is first
    assert [len(block) for block in (first, costly, last) if block] == [
        memory * 1024 + argon2id.HUGE_PAGE for memory in (64, 4096, 64)
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the faults of a thread are not counted")
def test_second_hash_has_few_page_faults() -> None:
    """argon2 computes in the kept memory."""

    def faults_of_the_second() -> int:
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
            argon2id.hash_of(b"fish", HashParameters(65536, 1, 1))
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(faults_of_the_second).result() < 1000  # new memory has 16,384 pages


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_memory_is_private() -> None:
    """The memory is private and may have huge pages."""

    def described() -> str:
        argon2id.hash_of(b"fish", HashParameters(4096, 1, 1))
        start = int(ffi.cast("uintptr_t", argon2id._kept.start))
        for described in re.split(r"(?m)^(?=[0-9a-f]+-)", Path("/proc/self/smaps").read_text())[1:]:
            low, high = (int(end, 16) for end in described.split()[0].split("-"))
            if low <= start < high:
                return described
        raise AssertionError("no such memory")

    with ThreadPoolExecutor(1) as thread:
        memory = thread.submit(described).result()
    assert " rw-p " in memory
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if setting.exists() and "[never]" not in setting.read_text():
        assert re.search(r"THPeligible: +1", memory)


@pytest.mark.parametrize("code", [-22, -33])
def test_no_memory_or_threads_in_argon2(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of memory or threads is a MemoryError, and no memory is kept."""

    def fail(_context: object, _type: int) -> int:
        assert argon2id._kept.block
        return code

    def hash_one() -> None:
        with pytest.raises(MemoryError):
            argon2id.hash_of(b"fish", HashParameters(64, 1, 1))
        assert argon2id._kept.block is None

    monkeypatch.setattr(argon2id, "core", fail)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(hash_one).result()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit does nothing elsewhere")
def test_memory_refused_by_the_system() -> None:
    """Refused memory is a MemoryError, and a later hash works."""
    program = """
import pathlib, resource
from users.passwords import argon2id
argon2id.hash_of(b"fish", argon2id.HashParameters(64, 1, 1))
used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**24, -1))
try:
    argon2id.hash_of(b"fish", argon2id.HashParameters(65536, 1, 1))
except MemoryError:
    print(argon2id.is_hash_of(argon2id.hash_of(b"fish", argon2id.HashParameters(64, 1, 1)), b"fish"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_allocator_gives_no_more_than_it_has() -> None:
    def lent(size: int) -> object:
        argon2id._kept.allocate(4096)
        memory = ffi.new("uint8_t **")
        argon2id._allocate(memory, size)
        return memory[0]

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lent, 4096).result() != ffi.NULL
        assert thread.submit(lent, 4097).result() == ffi.NULL


def test_memory_is_cleared() -> None:
    """No password and no state stays in the memory."""

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


def test_many_hashes_take_the_memory_of_one() -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("needs Linux's /proc")
    program = f"""
import pathlib
from users.passwords import argon2id
def peak():
    return int(pathlib.Path("{status}").read_text().partition("VmHWM:")[2].split()[0])
before = peak()
for _ in range(30):
    argon2id.is_hash_of(argon2id.hash_of(b"fish", argon2id.HashParameters(65536, 1, 4)), b"fish")
print(peak() - before)
"""
    used = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert 65536 <= used < 65536 + 4096


def test_hardened_system() -> None:
    """Where no code can be made at run time, argon2 allocates for itself."""
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
from users.passwords import argon2id
assert argon2id._ALLOCATE == ffi.NULL
print(argon2id.hash_of(b"fish", argon2id.HashParameters(64, 1, 1)))
"""
    made = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"\$argon2id\$v=19\$m=64,t=1,p=1\$\S+\n", made)
    assert argon2id.is_hash_of(made.strip(), b"fish")
