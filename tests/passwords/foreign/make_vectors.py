"""Make `vectors.json`: hashes by the libraries themselves. Run it in a virtual environment of its own.

    python -m venv /tmp/vectors
    /tmp/vectors/bin/pip install Django==5.2.19 Werkzeug==3.1.9 passlib==1.7.4 bcrypt==4.0.1 argon2-cffi==25.1.0
    /tmp/vectors/bin/python tests/passwords/foreign/make_vectors.py

passlib does not work with bcrypt 5. ASP.NET Core Identity, Spring, WordPress and Keycloak are no Python: their hashes
are put together here from hashlib and bcrypt, as the source of each writes them.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import argon2
import bcrypt
import django
from django.conf import settings
from django.contrib.auth import hashers
from passlib import hash as passlib_hash
from werkzeug.security import generate_password_hash

PASSWORD = "correct horse battery"
ACCENTS = "Zoë trinkt ☕ & isst Käse"
LONG = "0123456789" * 7 + "ab-what comes after 72 bytes does not count"
LIBRARIES = ("Django", "Werkzeug", "passlib", "bcrypt", "argon2-cffi")


def django_hash(hasher: str, password: str, **attributes: object) -> str:
    """Return the hash of a class of django.contrib.auth.hashers."""
    made = type(hasher, (getattr(hashers, hasher),), attributes)()
    return str(made.encode(password, made.salt()))


def aspnet(password: str, number: int, iterations: int, salt: bytes) -> str:
    """Return what PasswordHasher.HashPasswordV3 returns (dotnet/aspnetcore, Identity/Extensions.Core)."""
    name = ("sha1", "sha256", "sha512")[number]
    key = hashlib.pbkdf2_hmac(name, password.encode(), salt, iterations, 32)
    return base64.b64encode(struct.pack(">BIII", 1, number, iterations, len(salt)) + salt + key).decode()


def wordpress(password: str, cost: int) -> str:
    """Return what wp_hash_password of WordPress 6.8 returns."""
    digest = base64.b64encode(hmac.digest(b"wp-sha384", password.strip().encode(), "sha384"))
    return "$wp" + bcrypt.hashpw(digest, bcrypt.gensalt(cost)).decode().replace("$2b$", "$2y$")


def keycloak(password: str, name: str, iterations: int) -> str:
    """Return a credential of Keycloak, which makes 64 bytes with each hash, in the form of passlib."""
    salt = os.urandom(16)
    key = hashlib.pbkdf2_hmac(name, password.encode(), salt, iterations, 64)
    ends = [base64.b64encode(part).decode().rstrip("=").replace("+", ".") for part in (salt, key)]
    return "$".join(["", "pbkdf2" if name == "sha1" else f"pbkdf2-{name}", str(iterations), *ends])


def vectors() -> Iterator[tuple[str, str, str, str]]:
    """Yield the maker, the make that Enrol should see, the password, and the hash."""
    for password in (PASSWORD, ACCENTS):
        for name, type_ in (("id", argon2.Type.ID), ("i", argon2.Type.I), ("d", argon2.Type.D)):
            made = argon2.PasswordHasher(2, 4096, 1, type=type_).hash(password)
            yield "argon2-cffi", f"argon2{name}-4096-2-1", password, made
        yield "bcrypt", "bcrypt-08", password, bcrypt.hashpw(password.encode(), bcrypt.gensalt(8)).decode()
        made = django_hash("PBKDF2PasswordHasher", password, iterations=12_000)
        yield "Django PBKDF2PasswordHasher", "pbkdf2-sha256-12000", password, made
        yield "Werkzeug scrypt", "scrypt-4096-8-1", password, generate_password_hash(password, "scrypt:4096:8:1")
        yield "WordPress", "bcrypt-08", password, wordpress(password, 8)
        yield "ASP.NET", "pbkdf2-sha512-10000", password, aspnet(password, 2, 10_000, os.urandom(16))
    yield "argon2-cffi", "argon2id-65536-3-4", PASSWORD, argon2.PasswordHasher().hash(PASSWORD)
    short = argon2.PasswordHasher(3, 8192, 2, hash_len=16, salt_len=8).hash(PASSWORD)
    yield "argon2-cffi", "argon2id-8192-3-2", PASSWORD, short
    long = argon2.PasswordHasher(1, 8192, 16, hash_len=64, salt_len=64).hash(PASSWORD)
    yield "argon2-cffi", "argon2id-8192-1-16", PASSWORD, long
    small = {"memory_cost": 4096, "time_cost": 2, "parallelism": 8}
    yield (
        "Django Argon2PasswordHasher",
        "argon2id-4096-2-8",
        PASSWORD,
        django_hash("Argon2PasswordHasher", PASSWORD, **small),
    )
    made = passlib_hash.argon2.using(type="ID", memory_cost=8192, rounds=1, parallelism=2).hash(PASSWORD)
    yield "passlib argon2", "argon2id-8192-1-2", PASSWORD, made

    for ident in ("2a", "2b", "2y"):
        yield (
            f"passlib bcrypt {ident}",
            "bcrypt-08",
            PASSWORD,
            passlib_hash.bcrypt.using(rounds=8, ident=ident).hash(PASSWORD),
        )
    yield "bcrypt", "bcrypt-09", LONG, bcrypt.hashpw(LONG.encode(), bcrypt.gensalt(9)).decode()
    yield "bcrypt", "bcrypt-10", "", bcrypt.hashpw(b"", bcrypt.gensalt(10, b"2a")).decode()
    yield (
        "Spring",
        "bcrypt-08",
        PASSWORD,
        "{bcrypt}" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(8, b"2a")).decode(),
    )
    yield "Django BCryptPasswordHasher", "bcrypt-08", PASSWORD, django_hash("BCryptPasswordHasher", PASSWORD, rounds=8)
    for password in (PASSWORD, LONG):
        made = django_hash("BCryptSHA256PasswordHasher", password, rounds=8)
        yield "Django BCryptSHA256PasswordHasher", "bcrypt-08", password, made
    yield "WordPress", "bcrypt-08", f" {PASSWORD}\n", wordpress(PASSWORD, 8)

    made = django_hash("PBKDF2SHA1PasswordHasher", PASSWORD, iterations=10_000)
    yield "Django PBKDF2SHA1PasswordHasher", "pbkdf2-sha1-10000", PASSWORD, made
    for name in ("sha1", "sha256", "sha512"):
        made = generate_password_hash(PASSWORD, f"pbkdf2:{name}:10000")
        yield f"Werkzeug {name}", f"pbkdf2-{name}-10000", PASSWORD, made
        passlib_hasher = getattr(passlib_hash, "pbkdf2_" + name)
        for _again in range(4):  # the salts have a "." by chance
            made = passlib_hasher.using(rounds=10_000).hash(PASSWORD)
            yield f"passlib pbkdf2_{name}", f"pbkdf2-{name}-10000", PASSWORD, made
    for number, make in enumerate(("pbkdf2-sha1-10000x2", "pbkdf2-sha256-10000", "pbkdf2-sha512-10000")):
        yield "ASP.NET", make, PASSWORD, aspnet(PASSWORD, number, 10_000, os.urandom(16))
    yield "ASP.NET", "pbkdf2-sha256-10000", PASSWORD, aspnet(PASSWORD, 1, 10_000, os.urandom(24))
    for name, blocks in (("sha1", "x4"), ("sha256", "x2"), ("sha512", "")):
        yield "Keycloak", f"pbkdf2-{name}-20000{blocks}", PASSWORD, keycloak(PASSWORD, name, 20_000)

    made = django_hash("ScryptPasswordHasher", PASSWORD, work_factor=2**12, parallelism=2)
    yield "Django ScryptPasswordHasher", "scrypt-4096-8-2", PASSWORD, made
    yield "Werkzeug", "scrypt-32768-8-1", PASSWORD, generate_password_hash(PASSWORD)
    made = passlib_hash.scrypt.using(rounds=13, block_size=4, parallelism=2).hash(PASSWORD)
    yield "passlib scrypt", "scrypt-8192-4-2", PASSWORD, made


def main() -> None:
    """Write the file."""
    settings.configure()
    django.setup()
    made: dict[str, Any] = {
        "made_with": {name: metadata.version(name) for name in LIBRARIES},
        "vectors": [dict(zip(("maker", "make", "password", "hash"), one, strict=True)) for one in vectors()],
    }
    path = Path(__file__).with_name("vectors.json")
    path.write_text(json.dumps(made, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
