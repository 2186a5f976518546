"""Map the labels of a language-ID model to language keys, or to `other`.

The first of three sources that has a label decides:

1. the file `match.lid_labels`, if given: one label, a tab and a key (or any Wikipedia code, or `other`) per line. The
   label `*` covers all labels without a source, of which a model of 2,000 languages has many;
2. the column `labels` of the language table (lid.176);
3. the column `iso639_3`, for labels of the form `srp_Latn` (OpenLID, GlotLID, NLLB): the language in that script, then
   the language in any script.

Labels without a source are left out; `LanguageIdentifier` refuses a model that has such labels.
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
    """Return the language key of every label that a source has.

    Args:
        labels: the model's labels, without `__label__`.
        table: the language table.
        path: the file `match.lid_labels`, or None to use the table only.

    Raises UsageError, with file and line, if the file cannot be read or is malformed.
    """
    labels = list(labels)
    given = _read(path, table) if path else {}
    if unknown := sorted(given.keys() - {ANY, *labels}):
        log.warning("match.lid_labels: %s names labels that the model does not have: %s", path, ", ".join(unknown[:5]))
    langs = {label: given.get(label) or _look_up(label, table) or given.get(ANY) for label in labels}
    return {label: lang for label, lang in langs.items() if lang}


def _look_up(label: str, table: LanguageTable) -> str | None:
    if lang := table.label_to_lang.get(label):
        return lang
    iso = _ISO_LABEL.fullmatch(label)
    return (table.iso_to_lang.get(label) or table.iso_to_lang.get(iso[1])) if iso else None


def _read(path: Path, table: LanguageTable) -> dict[str, str]:
    """Read a label map; blank lines and lines that start with # are ignored."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"match.lid_labels: cannot read {path}: {error}") from error
    langs: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        label, *rest = (field.strip() for field in line.split("\t"))
        label = label.removeprefix("__label__")
        if len(rest) != 1 or not label or label in langs:
            problem = f"the label {label!r} occurs twice" if label in langs else "not a label, a tab and a language key"
            raise UsageError(f"match.lid_labels: {path}, line {number}: {problem}")
        try:
            langs[label] = table.target(rest[0])
        except UsageError as error:
            raise UsageError(f"match.lid_labels: {path}, line {number}: {error}") from error
    return langs
