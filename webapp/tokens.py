"""Tokens of client systems: how one is made, and the form in which it is kept."""

import hashlib
import secrets

TOKEN_PREFIX = "bip_"  # noqa: S105  # lets scanners of leaked secrets recognise a token


def new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """The form in which a token is kept. The secret has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()
