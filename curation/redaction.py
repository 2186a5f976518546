"""Removes secrets from everything that is logged or stored: `redact` for text, `redact_values` for structured data.

A secret is recognized by its name (a key of `spark.conf`, `X-Amz-Signature=…`, `--api_token …`), by its
place in a URL (user name and password), by its form (keys of known services), or because it is a value that the config
or the environment has under such a name. Identifiers that are hashes of whole values do not change.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

REDACTED = "REDACTED"
MIN_LENGTH = 8  # characters of a value that is searched in any text; shorter ones are common words

# As Java reads it too, for `spark.redaction.regex`. `token` is a secret, `tokenizer` is not; `key`, not `keys`.
SECRET_NAMES = (
    r"(?i)secret|passw(?:or)?d|passphrase|credential|signature|authorization|hmac|(?:access|account)[._-]?key"  # noqa: S105
    r"|(?:token|key)(?![a-z])|(?<![a-z])(?:auth|bearer|cookie|jwt|pwd|sas|sig)(?![a-z])"
)
_NAME = re.compile(SECRET_NAMES)
_VALUE = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?|[^\s,;&\"')\]}]+")

_USER = re.compile(r"([a-z][a-z0-9+.\-]*://)([^\s/?#]*)@", re.IGNORECASE)
_NAMED_CONTAINERS = ("abfs://", "abfss://", "wasb://", "wasbs://")  # container@account is not a user
_PARAMETER = re.compile(r"([?&;#])([^\s=&#?;\"'<>]{1,100})=([^\s&#;\"'<>]*?)(?=[:.,)\]}]*(?:[\s&#;\"'<>]|$))")
_ESCAPED_PARAMETER = re.compile(r"(%3F|%26)([\w.\-%]{1,100}?)%3D((?:(?!%26)[^\s&#\"'<>])*)", re.IGNORECASE)
_HEADER = re.compile(r"(?i)((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)(?:\w+\s+)?[^\s\"',]+|(\bbearer\s+)\S{8,}")
# `name=`, `"name":` and `--name `, but not a folder `name=value`
_ASSIGNED = re.compile(r"(?<![/\w.\-])([\w.\-]{1,200})(?:[\"']?\s*=\s*|[\"']\s*:\s*)|(--[\w.\-]{1,200})\s+(?!-)")
_FORMS = re.compile(
    r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[a-z]_\w{20,}|github_pat_\w{20,}|hf_[A-Za-z0-9]{20,}|xox[a-z]-[\w\-]{10,}"
    r"|AIza[\w\-]{35}|eyJ[\w\-]{8,}\.[\w\-]+\.[\w\-]*)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END[^-]*-----|$)"
)
# Parts of every name and form, without which a text has no such secret: most texts are only searched for these.
_NAME_HINTS = (
    "secret", "passw", "passphrase", "credential", "signature", "hmac", "key", "token", "auth", "bearer", "cookie",
    "jwt", "pwd", "sas", "sig",
)  # fmt: skip
_FORM_HINTS = ("akia", "asia", "_", "xox", "aiza", "eyj", "-----begin")

_known: set[str] = set()


def redact(text: str) -> str:
    """Return a text without the secrets in it."""
    for secret in sorted(_known, key=lambda secret: (-len(secret), secret)):
        text = text.replace(secret, REDACTED)
    if "@" in text:
        text = _USER.sub(_without_user, text)
    lower = text.lower()
    if any(hint in lower for hint in _NAME_HINTS):
        text = _without_named(text)
    return _FORMS.sub(REDACTED, text) if any(hint in lower for hint in _FORM_HINTS) else text


def redact_values(value: Any, *, by_name: bool = True) -> Any:
    """Return plain data with every text redacted; with `by_name`, texts under names of secrets are replaced as a whole.

    Names decide in a config, not where keys are language codes (`key` is one).
    """
    return _redacted(value, by_name=by_name, secret=False)


def is_secret_name(name: object) -> bool:
    """Return whether a value of this name is a secret."""
    return isinstance(name, str) and _NAME.search(name) is not None


def know_secrets(value: Any) -> None:
    """Let `redact` replace, in any text, the secrets that plain data such as a config contains."""
    for secret in _secrets_in(value):
        if len(secret) >= MIN_LENGTH and secret != REDACTED:
            _known.update((secret, quote(secret, safe=""), quote_plus(secret)))


def know_environment() -> None:
    """Let `redact` replace the secrets in the environment; a value that is the path of a file is not one."""
    named = {name: value for name, value in os.environ.items() if is_secret_name(name)}
    know_secrets({name: value for name, value in named.items() if not _exists(value)})
    know_secrets([value for name, value in os.environ.items() if name not in named])


def redact_logs() -> None:
    """Redact what the log handlers of this process write, tracebacks included; call it after they are set up."""
    know_environment()
    for handler in filter(None, [*logging.getLogger().handlers, logging.lastResort]):
        if not getattr(handler.formatter, "redacts", False):
            handler.setFormatter(_RedactingFormatter(handler.formatter))


class _RedactingFormatter(logging.Formatter):
    """Formats a record as another formatter does, without secrets."""

    redacts = True

    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._formatter.format(record))


def _redacted(value: Any, *, by_name: bool, secret: bool) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _redacted(item, by_name=by_name, secret=secret or (by_name and is_secret_name(name)))
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redacted(item, by_name=by_name, secret=secret) for item in value]
    if not isinstance(value, str) or not value:
        return value
    return REDACTED if secret else redact(value)


def _secrets_in(value: Any, *, secret: bool = False) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets_in(item, secret=secret or is_secret_name(name))
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for item in value:
            yield from _secrets_in(item, secret=secret)
    elif isinstance(value, str):
        if secret:
            yield value
        for user in _USER.finditer(value) if "@" in value else ():
            if not user[1].lower().startswith(_NAMED_CONTAINERS):
                yield unquote(user[2].partition(":")[2] or user[2])
        if "=" in value:
            yield from (unquote(m[3]) for m in _PARAMETER.finditer(value) if is_secret_name(unquote(m[2])))


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _without_named(text: str) -> str:
    text = _PARAMETER.sub(lambda m: _without_value(m, "="), text)
    text = _ESCAPED_PARAMETER.sub(lambda m: _without_value(m, "%3D"), text)
    text = _HEADER.sub(lambda m: f"{m[1] or m[2]}{REDACTED}", text)
    parts, end = [], 0
    for name in _ASSIGNED.finditer(text):
        if (
            name.start() >= end
            and is_secret_name((name[1] or name[2]).removeprefix("-D"))
            and (value := _VALUE.match(text, name.end()))
        ):
            mark = value[0][0] if value[0][0] in "\"'" else ""
            parts += [text[end : name.end()], f"{mark}{REDACTED}{mark}"]
            end = value.end() if mark else name.end() + len(value[0].rstrip(":."))  # a sentence goes on after it
    return "".join([*parts, text[end:]])


def _without_user(match: re.Match[str]) -> str:
    return match[0] if match[1].lower().startswith(_NAMED_CONTAINERS) else f"{match[1]}{REDACTED}@"


def _without_value(match: re.Match[str], equals: str) -> str:
    secret = match[3] and is_secret_name(unquote(match[2]))
    return f"{match[1]}{match[2]}{equals}{REDACTED}" if secret else match[0]
