"""Texts matched per second on one core: our matcher beside the public loop, on real sentences in 112 languages.

The public loop spaces each text with the seven punctuation replacements, walks a pyahocorasick automaton whose values
are the entries, and puts the hits in a set. `reference` does the same work exactly; `worldwide` spaces texts by script.

    python benchmarks/bench_matching.py
"""

from __future__ import annotations

import ahocorasick
import pyarrow as pa
from common import interleaved, sentences, table, unpacked

from curation.matching import Matcher
from curation.references import open_local
from curation.spacing import entry_form
from metadata.languages import LanguageTable
from metadata.wordnet import read_wordnets, wordnet_files

ENTRIES = 100_000
TEXTS = 20_000


def main() -> None:
    """Measure and print."""
    paths = [str(path) for path in sorted((unpacked() / "omw").rglob("*.tab"))]
    lemmas = read_wordnets(wordnet_files(paths), open_local, LanguageTable.load()).lemmas
    entries = sorted({lemma for words in lemmas.values() for lemma in words})
    entries = entries[:: max(1, len(entries) // ENTRIES)]
    texts = sentences()
    texts = texts[:: max(1, len(texts) // TEXTS)]
    column = pa.array(texts)

    automaton = ahocorasick.Automaton()
    for entry in entries:
        form = entry_form(entry, "reference")
        automaton.add_word(form, entry)
    automaton.make_automaton()

    def public_loop() -> list[set[str]]:
        found = []
        for text in texts:
            spaced = f" {text} "
            for sign in ",.;:?!`":
                spaced = spaced.replace(sign, f" {sign} ")
            spaced = spaced.replace("\t", " ").replace("\n", " ").replace("\r", " ")
            found.append({entry for _, entry in automaton.iter(spaced)})
        return found

    matchers = {rules: Matcher.build(entries, rules) for rules in ("reference", "worldwide")}
    ours = matchers["reference"].match_batch(column).to_pylist()
    assert [{entries[i] for i in ids} for ids in ours] == public_loop(), "both ways must find the same entries"
    public, reference, worldwide = interleaved(
        public_loop,
        lambda: matchers["reference"].match_batch(column),
        lambda: matchers["worldwide"].match_batch(column),
    )
    rows = [
        [name, f"{len(texts) / seconds:,.0f}", f"{public / seconds:.2f}"]
        for name, seconds in {
            "public loop": public,
            "Matcher, reference rules": reference,
            "Matcher, worldwide rules": worldwide,
        }.items()
    ]
    title = f"Matching {len(texts):,} sentences against {len(entries):,} entries, one core, median of 5"
    table(title, ["way", "texts/s", "x public loop"], rows)


if __name__ == "__main__":
    main()
