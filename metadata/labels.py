"""What the labels of a language-ID model mean: each leads to a language key, or plainly to `other`.

A label is looked up in three places, and the first that knows it decides:

1. the file `match.lid_labels`, if one is given: a label, a tab and a key (or any Wikipedia code, or `other`) a line.
   The label `*` stands for all that nobody knows, which a model of 2,000 languages has many of;
2. the column `labels` of the language table (lid.176);
3. the column `iso639_3`, for labels of the form `srp_Latn` (OpenLID, GlotLID, NLLB): language and script first, then
   the language in any script.

Labels that none of them knows are left out; `LanguageIdentifier` refuses a model that has such.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path

from curation.errors import UsageError
from metadata.languages import LanguageTable

ANY = "*"
_ISO_LABEL = re.compile(r"([a-z]{3})_[A-Z][a-z]{3}")

log = logging.getLogger(__name__)


def map_labels(labels: Iterable[str], table: LanguageTable, path: Path | None = None) -> dict[str, str]:
    """Return the language key of every label that is known, labels without `__label__`.

    Args:
        labels: the model's labels.
        table: the language table.
        path: the file `match.lid_labels`; None when the table alone decides.

    Raises UsageError, with file and line, when the file cannot be read or is malformed.
    """
    known = list(labels)
    given = _read(path, table) if path else {}
    if strange := sorted(given.keys() - {ANY, *known}):
        log.warning("match.lid_labels: %s names labels the model does not have: %s", path, ", ".join(strange[:5]))
    found = {label: given.get(label) or _in_table(label, table) or given.get(ANY) for label in known}
    return {label: lang for label, lang in found.items() if lang}


def _in_table(label: str, table: LanguageTable) -> str | None:
    if lang := table.label_to_lang.get(label):
        return lang
    iso = _ISO_LABEL.fullmatch(label)
    return (table.iso_to_lang.get(label) or table.iso_to_lang.get(iso[1])) if iso else None


def _read(path: Path, table: LanguageTable) -> dict[str, str]:
    """Read a label map; blank lines and lines that start with # are remarks."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"match.lid_labels: cannot read {path}: {error}") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        label, *rest = (field.strip() for field in line.split("\t"))
        label = label.removeprefix("__label__")
        if len(rest) != 1 or not label or label in found:
            problem = f"the label {label!r} stands twice" if label in found else "not a label, a tab and a language key"
            raise UsageError(f"match.lid_labels: {path}, line {number}: {problem}")
        try:
            found[label] = table.target(rest[0])
        except UsageError as error:
            raise UsageError(f"match.lid_labels: {path}, line {number}: {error}") from error
    return found
