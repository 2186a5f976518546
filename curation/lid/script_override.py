"""Override the identified language of a text by its script, for scripts that are used by one language.

The model is often wrong or uncertain on short texts: a Thai caption with a product's name may be identified as any
language. The script is better evidence. If more than half of the letters and marks of a text belong to a script below,
and two of them are adjacent, the text gets the language of that script, whatever the model's label and score. A single
letter is more often a symbol than a word: π and Ω in texts that are not Greek, カ in a product name. Only for Hangul
one character is enough, because it is a syllable of several letters.

Scripts that several languages with entry lists share are left out (Cyrillic, Arabic, Devanagari, Ethiopic, Georgian
with Mingrelian, Hebrew with Yiddish, Bengali with Assamese, Han), and so is Myanmar, which Shan, Mon and Pa'O use too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.lid.identifier import LanguageIdentifier

ALGORITHM: Final = 2  # part of match_id if the override is on: raise it whenever results change
LANGUAGES: Final = {
    "Armenian": "hy",
    "Greek": "el",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Hangul": "ko",
    "Hiragana": "ja",
    "Katakana": "ja",
    "Kannada": "kn",
    "Khmer": "km",
    "Lao": "lo",
    "Malayalam": "ml",
    "Oriya": "or",
    "Sinhala": "si",
    "Tamil": "ta",
    "Telugu": "te",
    "Thaana": "dv",
    "Thai": "th",
    "Tibetan": "bo",
}


class ScriptIdentifier(LanguageIdentifier):
    """A language identifier whose answers are overridden by scripts; the scores remain the model's."""

    def identify_column(self, texts: pa.StringArray) -> tuple[pa.StringArray, pa.FloatArray]:
        """Return the language key and the model's score of each text."""
        langs, scores = super().identify_column(texts)
        return pa.array(override_by_script(texts, langs.to_pylist()), pa.string()), scores


def override_by_script(texts: Sequence[str] | pa.StringArray, langs: Sequence[str]) -> list[str]:
    """Return the language of each text: that of its script if the script determines one, otherwise the given one."""
    column, result = pa.array(texts, pa.string()), list(langs)
    rows = np.flatnonzero(pc.match_substring_regex(column, _any_of(LANGUAGES)).to_numpy(zero_copy_only=False))
    candidates = column.take(pa.array(rows))
    words = pc.replace_substring_regex(candidates, r"[^\pL\pM]", " ")  # digits and symbols have scripts too
    letters = pc.replace_substring(words, " ", "")
    lengths = pc.utf8_length(letters).to_numpy()
    for lang in sorted(set(LANGUAGES.values())):
        pattern = _any_of([script for script, language in LANGUAGES.items() if language == lang])
        is_majority = 2 * pc.count_substring_regex(letters, pattern).to_numpy() > lengths
        has_word = pc.match_substring_regex(words, pattern if lang == "ko" else pattern + "{2}").to_numpy(
            zero_copy_only=False
        )
        for row in rows[is_majority & has_word].tolist():
            result[row] = lang
    return result


def _any_of(scripts: Sequence[str] | dict[str, str]) -> str:
    """Return a pattern that matches one character of any of the scripts."""
    return "[" + "".join(rf"\p{{{script}}}" for script in scripts) + "]"
