"""Users whose password hash another system made, and hashes at the edge of what is kept."""

import base64
import hashlib
import math
from functools import cache

import bcrypt
from flask import Flask

from support.databases import execute, rows
from support.people import PASSWORD
from users.passwords import foreign

B64 = "A" * 22
DIGEST_32 = "A" * 43
HEX_64 = "0" * 64


def argon2(costs: str, kind: str = "id") -> str:
    """Return a hash of no password."""
    return f"$argon2{kind}$v=19${costs}${B64}${DIGEST_32}"


def scrypt(costs: str) -> str:
    """Return a hash of no password."""
    return f"$scrypt${costs}${B64}${DIGEST_32}"


# The cheapest and the costliest that are kept.
AT_THE_EDGE = [
    (f"$2b$08${'a' * 53}", "bcrypt-08"),
    (f"$2b$14${'a' * 53}", "bcrypt-14"),
    (argon2("m=4096,t=1,p=1"), "argon2id-4096-1-1"),
    (argon2("m=131072,t=5,p=16"), "argon2id-131072-5-16"),
    (f"argon2{argon2('m=58333,t=12,p=4', kind='i')}", "argon2i-58333-12-4"),
    (argon2("m=128,t=32,p=16"), "argon2id-128-32-16"),
    (argon2("m=1367,t=512,p=1", kind="i"), "argon2i-1367-512-1"),
    (f"pbkdf2:sha256:3000000$salt${HEX_64}", "pbkdf2-sha256-3000000"),
    (f"pbkdf2:sha1:2000000$salt${'0' * 40}", "pbkdf2-sha1-2000000"),
    (f"pbkdf2:sha512:1300000$salt${'0' * 128}", "pbkdf2-sha512-1300000"),
    (f"$pbkdf2-sha256$1500000${B64}${'A' * 86}", "pbkdf2-sha256-1500000x2"),
    (f"$pbkdf2$10000${B64}${'A' * 86}", "pbkdf2-sha1-10000x4"),
    (scrypt("ln=12,r=1,p=1"), "scrypt-4096-1-1"),
    (scrypt("ln=17,r=8,p=1"), "scrypt-131072-8-1"),
    (scrypt("ln=15,r=8,p=7"), "scrypt-32768-8-7"),
    (scrypt("ln=12,r=256,p=1"), "scrypt-4096-256-1"),
    (scrypt("ln=12,r=1,p=448"), "scrypt-4096-1-448"),
    (scrypt("ln=15,r=1,p=1"), "scrypt-32768-1-1"),
]
# What systems make by default, now or soon, and what OWASP's Password Storage Cheat Sheet names.
IN_USE = [
    (f"$2y$14${'a' * 53}", "bcrypt-14"),
    (argon2("m=65536,t=4,p=1"), "argon2id-65536-4-1"),  # PHP
    (f"argon2{argon2('m=102400,t=2,p=8')}", "argon2id-102400-2-8"),  # Django
    (argon2("m=47104,t=1,p=1"), "argon2id-47104-1-1"),
    (argon2("m=7168,t=5,p=1"), "argon2id-7168-5-1"),  # Keycloak
    (f"pbkdf2_sha256$1500000$salt${DIGEST_32}=", "pbkdf2-sha256-1500000"),  # Django 6.1
    (f"pbkdf2_sha256$2600000$salt${DIGEST_32}=", "pbkdf2-sha256-2600000"),  # in 2028, at a fifth more each time
    (f"pbkdf2:sha1:1400000$salt${'0' * 40}", "pbkdf2-sha1-1400000"),
    (f"$pbkdf2-sha512$210000${B64}${'A' * 86}", "pbkdf2-sha512-210000"),  # Keycloak
    (f"pbkdf2:sha512:600000$salt${'0' * 128}", "pbkdf2-sha512-600000"),
    (f"scrypt:32768:8:1$salt${'0' * 128}", "scrypt-32768-8-1"),  # Werkzeug
    (f"scrypt$16384$salt$8$5${'A' * 86}==", "scrypt-16384-8-5"),  # Django
    (scrypt("ln=17,r=8,p=1"), "scrypt-131072-8-1"),
]


def part_of_most(make: str) -> float:
    """Return the time of a hash, as a part of the most of its algorithm; infinity for too much memory or lanes."""
    name, *numbers = make.split("-")
    if name == "bcrypt":
        return 2.0 ** (int(numbers[0]) - 14)
    if name.startswith("argon2"):
        memory, passes, lanes = map(int, numbers)
        return math.inf if memory > 131_072 or lanes > 16 else max(memory * passes / 700_000, passes * lanes / 512)
    if name == "scrypt":
        n, r, p = map(int, numbers)
        return math.inf if 128 * n * r > 2**27 else n * r * p / 1_835_008
    iterations, _, blocks = numbers[1].partition("x")
    most = {"sha1": 2_000_000, "sha256": 3_000_000, "sha512": 1_300_000}[numbers[0]]
    return int(iterations) * int(blocks or 1) / most


@cache
def bcrypt_of(password: str = PASSWORD, cost: int = 8) -> str:
    """Return a hash of bcrypt, the cheapest that is kept."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


def pbkdf2_of(iterations: int, password: str = PASSWORD) -> str:
    """Return a hash as Django makes it."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", iterations)
    return f"pbkdf2_sha256${iterations}$salt${base64.b64encode(digest).decode()}"


def give_hash(app: Flask, email: str, text: str) -> None:
    """Give a user the hash, as an import does."""
    make = foreign.judge(text).make
    execute(
        app,
        "UPDATE users SET password_hash = :text, password_make = :make WHERE email = :email",
        text=text,
        make=make,
        email=email,
    )


def stored(app: Flask, email: str) -> tuple[str, str | None]:
    """Return the hash of a user, and its make if it is not ours."""
    (found,) = rows(app, "SELECT password_hash, password_make FROM users WHERE email = :email", email=email)
    return found.password_hash, found.password_make
