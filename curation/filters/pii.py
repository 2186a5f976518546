"""Finds personal data in texts by patterns: e-mail addresses, phone numbers and payment card numbers."""

from __future__ import annotations

import re
from collections.abc import Callable

MASKS = {"email": "[email]", "phone": "[phone]", "card": "[card]"}

_email = re.compile(r"[\w.%+-]+@(?:[\w-]+\.)+[^\W\d_]{2,24}(?!\w)")
# 13 to 19 digits, possibly in groups; the check digit decides whether it is a card number
_card = re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])")
# with a country code, or grouped as local numbers usually are
_phone = re.compile(
    r"(?<![\w+.])(?:"
    r"(?:\+|00)[1-9]\d{0,2}(?:[ .\-/]?\(?\d{1,5}\)?){2,6}"
    r"|\(\d{2,5}\)[ .\-/]?\d{2,5}(?:[ .\-/]?\d{2,5}){1,3}"
    r"|0\d{1,4}[ /\-]\d{2,4}(?:[ .\-/]\d{2,4}){1,4}"
    r"|[2-9]\d{2}[.\-]\d{3}[.\-]\d{4}"
    r")(?![\w%])"
)
PHONE_DIGITS = range(7, 16)  # ITU-T E.164 has at most 15


def contains(kind: str, text: str) -> bool:
    """Return whether a text contains data of a kind, one of `MASKS`."""
    return masked(kind, text) != text


def masked(kind: str, text: str) -> str:
    """Return a text with all data of a kind, one of `MASKS`, replaced by its mask."""
    pattern, check = _KINDS[kind]
    if kind == "email" and "@" not in text:
        return text
    return pattern.sub(lambda match: MASKS[kind] if check(match[0]) else match[0], text)


def _is_card(number: str) -> bool:
    """Return whether the check digit is right (Luhn, ISO/IEC 7812-1) and not all digits are equal."""
    digits = [int(char) for char in number if char.isdecimal()]
    doubled = [d if i % 2 == 0 else 2 * d - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0 and len(set(digits)) > 1


def _is_phone(number: str) -> bool:
    return sum(char.isdecimal() for char in number) in PHONE_DIGITS


_KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (_email, lambda _: True),
    "phone": (_phone, _is_phone),
    "card": (_card, _is_card),
}
