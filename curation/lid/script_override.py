"""A second opinion on the language of a text: its script, where a script is written in one language.

Statistical identification errs on short texts and is unsure of many; a Thai caption with a product's name may pass for
anything. Who sees Thai letters needs no statistics. Where more than half of a text's letters and marks are of a script
below, and two of them stand side by side, the text is in that script's language, whatever the model says and however
sure it is. A letter by itself is a sign rather than a word: π and Ω in texts that are not Greek, カ in a model's name.
Only a syllable of Hangul, which is written with several letters, is enough.

Left out are scripts that several languages with lists share (Cyrillic, Arabic, Devanagari, Ethiopic, Georgian with
Mingrelian, Hebrew with Yiddish, Bengali with Assamese, Han) and Myanmar, in which Shan, Mon and Pa'O are written too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation.lid.identifier import LanguageIdentifier

ALGORITHM: Final = 2  # part of match_id where scripts have a say: raise it whenever they say something else
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
    """A language identifier that scripts overrule; the scores stay the model's."""

    def identify_column(self, texts: pa.StringArray) -> tuple[pa.StringArray, pa.FloatArray]:
        """Return the language key and the model's score of each text."""
        langs, scores = super().identify_column(texts)
        return pa.array(override_by_script(texts, langs.to_pylist()), pa.string()), scores


def override_by_script(texts: Sequence[str] | pa.StringArray, langs: Sequence[str]) -> list[str]:
    """Return the language of each text: its script's where that determines one, otherwise the given one."""
    column, found = pa.array(texts, pa.string()), list(langs)
    rows = np.flatnonzero(pc.match_substring_regex(column, _any_of(LANGUAGES)).to_numpy(zero_copy_only=False))
    shown = column.take(pa.array(rows))
    words = pc.replace_substring_regex(shown, r"[^\pL\pM]", " ")  # digits and signs are of a script too
    letters = pc.replace_substring(words, " ", "")
    lengths = pc.utf8_length(letters).to_numpy()
    for lang in sorted(set(LANGUAGES.values())):
        own = _any_of([script for script, language in LANGUAGES.items() if language == lang])
        mostly = 2 * pc.count_substring_regex(letters, own).to_numpy() > lengths
        word = pc.match_substring_regex(words, own if lang == "ko" else own + "{2}").to_numpy(zero_copy_only=False)
        for row in rows[mostly & word].tolist():
            found[row] = lang
    return found


def _any_of(scripts: Sequence[str] | dict[str, str]) -> str:
    """Return the pattern of a character of some scripts."""
    return "[" + "".join(rf"\p{{{script}}}" for script in scripts) + "]"
