"""The secret of a key: how it is made, told apart from other things, and found again.

It has 256 random bits, so nobody can try them all: one SHA-256 keeps it as well as a slow hash
would, which is for passwords, and costs each first use of a key a microsecond.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from pydantic import SecretStr

from agent_executor.executor.api_keys.api_key import KEY, SESSION, Kind

# Letters and digits that nobody takes for each other: no 0, O, I and l.
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PREFIXES: Final[dict[str, str]] = {KEY: "aek_", SESSION: "aes_"}
_PUBLIC_CHARACTERS: Final = 4
# log2(58) bits each: 257 together. The public ones do not count.
_SECRET_CHARACTERS: Final = 44
_FORM: Final = re.compile(f"ae([ks])_[{_ALPHABET}]{{{_PUBLIC_CHARACTERS + _SECRET_CHARACTERS}}}")


def new_secret(kind: Kind) -> SecretStr:
    """Returns a new secret, as ``aek_7GQm…``; one of a session begins with ``aes_``."""
    length = _PUBLIC_CHARACTERS + _SECRET_CHARACTERS
    characters = "".join(secrets.choice(_ALPHABET) for _ in range(length))
    return SecretStr(_PREFIXES[kind] + characters)


def hint_of(secret: SecretStr) -> str:
    """Returns how a secret begins, which is no part of what makes it one."""
    return secret.get_secret_value()[: len(_PREFIXES[KEY]) + _PUBLIC_CHARACTERS]


def digest_of(secret: SecretStr) -> bytes:
    """Returns what is kept of a secret."""
    return hashlib.sha256(secret.get_secret_value().encode()).digest()


def kind_of(secret: SecretStr) -> Kind | None:
    """Returns what a secret would be of, by its form; None for what cannot be one."""
    form = _FORM.fullmatch(secret.get_secret_value())
    if form is None:
        return None
    return KEY if form[1] == "k" else SESSION
