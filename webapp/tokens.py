"""Tokens of client systems: how one is made, and the form in which it is kept."""

import hashlib
import secrets

TOKEN_PREFIX = "bip_"  # noqa: S105  # lets scanners of leaked secrets recognise a token


def new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def secret_of(header: str) -> str | None:
    """The secret in an Authorization header, however it is spaced; None where it is none of a bearer."""
    scheme, _, secret = header.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def digest(secret: str) -> str:
    """The form in which a token is kept. The secret has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()
