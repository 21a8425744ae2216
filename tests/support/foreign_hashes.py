"""Users whose password hash another system made, and hashes at the edge of what is kept."""

import base64
import hashlib
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
    (argon2("m=131072,t=6,p=16"), "argon2id-131072-6-16"),
    (argon2("m=128,t=32,p=16"), "argon2id-128-32-16"),
    (argon2("m=1562,t=512,p=1", kind="i"), "argon2i-1562-512-1"),
    (f"pbkdf2:sha256:4000000$salt${HEX_64}", "pbkdf2-sha256-4000000"),
    (f"pbkdf2:sha1:2000000$salt${'0' * 40}", "pbkdf2-sha1-2000000"),
    (f"pbkdf2:sha512:1600000$salt${'0' * 128}", "pbkdf2-sha512-1600000"),
    (f"$pbkdf2-sha256$2000000${B64}${'A' * 86}", "pbkdf2-sha256-2000000x2"),
    (f"$pbkdf2$10000${B64}${'A' * 86}", "pbkdf2-sha1-10000x4"),
    (scrypt("ln=12,r=1,p=1"), "scrypt-4096-1-1"),
    (scrypt("ln=17,r=8,p=2"), "scrypt-131072-8-2"),
    (scrypt("ln=12,r=256,p=2"), "scrypt-4096-256-2"),
    (scrypt("ln=12,r=1,p=512"), "scrypt-4096-1-512"),
]


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
