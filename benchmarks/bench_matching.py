"""Measure how many texts one core matches per second, compared with the public loop and a pyahocorasick automaton.

The public loop applies seven punctuation replacements to each text, iterates over a pyahocorasick automaton whose
values are the entries, and collects the hits in a set. `reference` does exactly the same work; `worldwide` adds spaces
by script. The matches are asserted to be equal. English is matched against 500,000 entries (see `corpus`), Chinese,
Japanese and Thai against their wordnets and the words of half of the sentences.

    python benchmarks/bench_matching.py [--tiny] [--texts 1000000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ahocorasick
import corpus
import fasttext
import pyarrow as pa
from common import REPEATS, interleaved, run, scaled, table, unpacked

from curation import models
from curation.lid.identifier import LanguageIdentifier
from curation.matching.aho_corasick import AhoCorasickMatcher
from curation.matching.matcher import Matcher
from curation.matching.matcher_file import compile_entries
from curation.matching.rules import normalize_entry
from metadata.languages import LanguageTable
from metadata.ngrams.segmenters import segment

TEXTS = scaled(1_000_000, 2_000)
SAMPLE = scaled(20_000, 500)  # texts of the slower ways
CODES = {"zh": "cmn", "ja": "jpn", "th": "tha"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=TEXTS, help="number of synthetic English texts")
    options = parser.parse_args()
    entries = corpus.entries()
    synthetic = corpus.texts(options.texts)
    compare("English, synthetic texts", entries, synthetic)
    compare("English, Tatoeba", entries, corpus.english_sentences()[: scaled(None, SAMPLE)])
    compare_with_language_id("English, synthetic texts", entries, synthetic[: 5 * SAMPLE])
    lemmas = corpus.lemmas(wiktionary=True)
    for lang, code in CODES.items():
        path = unpacked() / "laser-tatoeba" / "data" / "tatoeba" / "v1" / f"tatoeba.{code}-eng.{code}"
        lines = path.read_text(encoding="utf-8").splitlines()
        cut = segment("icu", lang)
        words = {word for line in lines[::2] for word in cut(line)}
        repeated = (lines * (1 + SAMPLE // len(lines)))[: scaled(None, SAMPLE)]
        compare(f"{lang}, Tatoeba", sorted({*lemmas[lang], *words}), repeated)


def public_loop(entries: Sequence[str]) -> Callable[[Sequence[str]], list[set[str]]]:
    """Return the public loop over texts."""
    automaton = ahocorasick.Automaton()
    for entry in entries:
        automaton.add_word(normalize_entry(entry, "reference"), entry)
    automaton.make_automaton()

    def match(texts: Sequence[str]) -> list[set[str]]:
        matches = []
        for text in texts:
            spaced = f" {text} "
            for symbol in ",.;:?!`":
                spaced = spaced.replace(symbol, f" {symbol} ")
            spaced = spaced.replace("\t", " ").replace("\n", " ").replace("\r", " ")
            matches.append({entry for _, entry in automaton.iter(spaced)})
        return matches

    return match


def open_matcher(data: bytes, rules: str) -> Matcher:
    """Return a matcher as jobs use it: a file mapped into memory."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return Matcher.open(Path(file.name), rules)


def compare(name: str, entries: Sequence[str], texts: Sequence[str]) -> None:
    """Print the texts per second of each way."""
    few, column = texts[:SAMPLE], pa.array(texts)
    public = public_loop(entries)
    automaton = AhoCorasickMatcher(entries, "worldwide")
    started = time.perf_counter()
    stored = {rules: compile_entries(entries, rules) for rules in ("reference", "worldwide")}
    compiling = (time.perf_counter() - started) / 2
    ours = {rules: open_matcher(data, rules) for rules, data in stored.items()}
    matches = ours["reference"].match_batch(column.slice(0, len(few))).to_pylist()
    assert [{entries[i] for i in ids} for ids in matches] == public(few), "both ways find the same entries"
    assert ours["worldwide"].match_batch(column.slice(0, len(few))).equals(automaton.match_batch(pa.array(few)))
    loop, engine, reference, worldwide = interleaved(
        lambda: public(few),
        lambda: automaton.match_batch(pa.array(few)),
        lambda: ours["reference"].match_batch(column),
        lambda: ours["worldwide"].match_batch(column),
    )
    base = len(few) / loop
    rates = {
        "public loop": base,
        "pyahocorasick, worldwide rules": len(few) / engine,
        "Matcher, reference rules": len(texts) / reference,
        "Matcher, worldwide rules": len(texts) / worldwide,
    }
    hits = len(ours["worldwide"].match_batch(column).values) / len(texts)
    size = sum(len(text.encode()) for text in few) / len(few)
    table(
        f"Matching {name}: {len(texts):,} texts of {size:.0f} bytes with {hits:.1f} matches, {len(entries):,} entries "
        f"in {len(stored['worldwide']) / 1e6:.1f} MB compiled in {compiling:.1f} s; one core, median of {REPEATS}",
        ["way", "texts/s", "x public loop"],
        [[way, f"{rate:,.0f}", f"{rate / base:.1f}"] for way, rate in rates.items()],
        name=name,
        ratios={way: rate / base for way, rate in rates.items() if way.startswith("Matcher")},
    )


def compare_with_language_id(name: str, entries: Sequence[str], texts: Sequence[str]) -> None:
    """Print the texts per second of language identification and matching together."""
    path, mapping = models.fetch_default_model(), LanguageTable.load().label_to_lang
    identifier = LanguageIdentifier(path, mapping)
    model = fasttext.load_model(str(path))
    public, matcher = public_loop(entries), open_matcher(compile_entries(entries, "worldwide"), "worldwide")
    few, column = texts[:SAMPLE], pa.array(texts)

    def one_by_one() -> None:
        for text in few:
            model.predict([text])
            public([text])

    def batched(identify: Callable[[pa.Array], object], match: Callable[[pa.Array], object]) -> None:
        for start in range(0, len(column), 10_000):
            part = column.slice(start, 10_000)
            identify(part)
            match(part)

    labels, _ = model.predict(list(few))
    langs, _ = identifier.identify_column(column.slice(0, len(few)))
    assert langs.to_pylist() == [mapping[label.removeprefix("__label__")] for [label] in labels], (
        "both ways find the same languages"
    )
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "predict([text]), public loop": (len(few), one_by_one),
        "predict([text]) alone": (len(few), lambda: [model.predict([text]) for text in few]),
        "predict(texts) alone": (len(few), lambda: model.predict(list(few))),
        "LanguageIdentifier alone": (len(texts), lambda: batched(identifier.identify_column, len)),
        "LanguageIdentifier, Matcher": (len(texts), lambda: batched(identifier.identify_column, matcher.match_batch)),
    }
    taken = interleaved(*(way for _, way in ways.values()))
    rates = [count / seconds for (count, _), seconds in zip(ways.values(), taken, strict=True)]
    table(
        f"Language ID and matching, {name}: {len(texts):,} texts; one core, median of {REPEATS}",
        ["way", "texts/s", "x public way"],
        [[way, f"{rate:,.0f}", f"{rate / rates[0]:.1f}"] for way, rate in zip(ways, rates, strict=True)],
        name="Language ID and matching",
        ratios={way: rate / rates[0] for way, rate in zip(ways, rates, strict=True) if "Identifier" in way},
    )


if __name__ == "__main__":
    run(main)
