"""The intended use of a version: what it is for, for whom, in which hands; in the words of a person."""

import unicodedata

from webapp import audit
from webapp.errors import Invalid
from webapp.models import ModelVersion, User, db, now

LONGEST = 4_000
_SOFT_HYPHEN = "\xad"


def write(version: ModelVersion, text: str, user: User) -> None:
    """Takes the place of the text before, which the audit trail keeps; an empty one is none. Raises Invalid."""
    text = _clean(text)
    if text == version.intended_use:
        return
    version.intended_use = text
    version.intended_use_by_id, version.intended_use_at = (user.id, now()) if text else (None, None)
    audit.record("version.intended_use", version, user, text=text)
    db.session.commit()


def _clean(text: str) -> str:
    """Without blanks at the ends of lines; empty lines part paragraphs. Every blank is a plain one, none hyphenates."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ").replace(_SOFT_HYPHEN, "")
    text = "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in text)
    lines = [line.rstrip() for line in text.split("\n")]
    cleaned = "\n".join(lines).strip()
    if len(cleaned) > LONGEST:
        message = f"The intended use has {len(cleaned)} characters; at most {LONGEST} are kept. Shorten it."
        raise Invalid(message, {"intended_use": f"at most {LONGEST} characters"})
    if not cleaned.replace("\n", "").isprintable():
        message = "The intended use has characters that cannot be printed. Remove them; lines and paragraphs may stay."
        raise Invalid(message, {"intended_use": "printable characters only"})
    return cleaned
