"""Texts that are nearly a password link: none of them is one, and none costs a hash."""

import pytest
from flask import Flask

from support.changes import TERMINAL, update
from support.password_links import NEW, make
from support.people import Cast
from users.form_errors import PasswordLinkEnded
from users.passwords import argon2id
from users.services.links import password_links

pytestmark = pytest.mark.one_database


def changed_bits(token: str) -> list[str]:
    """Return the token with each bit of each of its bytes turned."""
    raw = token.encode()
    turned = [raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :] for at in range(len(raw)) for bit in range(8)]
    return [one.decode("latin-1") for one in turned]


def other_spellings(token: str) -> list[str]:
    """Return texts that a careless reader takes for the token."""
    user_id, number, signature = token.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(signature[-1])
    texts = [f"{token[:-1]}{alphabet[last + unused]}" for unused in (1, 2, 3)]
    numbers = [f"0{number}", f"+{number}", f"{number[:3]}_{number[3:]}", f"{number}.0", f" {number}"]
    numbers.append("".join(chr(0xFF10 + int(digit)) for digit in number))
    texts += [f"{user_id}.{one}.{signature}" for one in numbers]
    texts += [f"{user_id.upper()}.{number}.{signature}", f"usr_{user_id[4:].upper()}.{number}.{signature}"]
    texts += [f"{token}{more}" for more in ("=", "\n", " ", ".", "\0", "A")] + [f" {token}", token[:-1], ""]
    return [*texts, f"{user_id}.{signature}", "x" * 5000, "\ud800"]


def mixed(first: str, second: str) -> list[str]:
    """Return texts that are made of the parts of two tokens, or of one in another case."""
    one, other = first.split("."), second.split(".")
    swapped = [".".join([*one[:2], one[2].swapcase()])]
    return swapped + [".".join(left[:n] + right[n:]) for left, right in ((one, other), (other, one)) for n in (1, 2)]


def test_forged_links(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """One bit turned anywhere, or another way to write the same: no link, and no hash."""
    for name in ("hash_of", "is_hash_of"):
        monkeypatch.setattr(argon2id, name, lambda *_: pytest.fail("it computes a hash"))
    with app.app_context():
        update(cast.sam, password_change_required=True)  # a use compares the password too
        link, other = make(cast.sam), make(cast.omar)
        spellings = other_spellings(link.token)
        for text in [*changed_bits(link.token), *spellings, *mixed(link.token, other.token)]:
            with pytest.raises(PasswordLinkEnded):
                password_links.use(text, NEW, actor=TERMINAL)
        assert not any(map(password_links.is_token, spellings))
        assert password_links.is_token(link.token)
        assert password_links.find_user(link.token).id == cast.sam.id
