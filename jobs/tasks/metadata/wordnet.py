"""The wordnets of build_metadata: one task reads all files and stages their lemmas by Wikipedia."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from curation.io.paths import join
from curation.io.storage import Storage
from curation.lake import shuffle
from jobs.runtime.ledger import LedgerRow, ledger_row
from metadata.languages import LanguageTable
from metadata.lists.build import read_lemmas
from metadata.lists.wordnet import wordnet_files
from metadata.sources import Source

LEMMAS = pa.schema([("lemma", pa.string())])
NOTES = {
    "data": "English wordnet: the first lemma of each synset, case kept, from Princeton's data files",
    "index": "English wordnet: every lemma, in lower case as stored, from Princeton's index files alone",
}


class StagedLemmas(msgspec.Struct):
    """Where the lemmas of all wordnets are staged, notes on their sources, and the ledger rows of their files.

    `unmapped` are the files of languages that the language table maps to no Wikipedia.
    """

    path: str
    unmapped: list[str]
    notes: list[str]
    ledger: list[LedgerRow]


@dataclass(frozen=True)
class ReadWordnets:
    """Reads the wordnet files and stages their lemmas: record batch n holds those of Wikipedia n of `codes`.

    Files of other Wikipedias are not read, so the counters are of those that are built.
    """

    storage: Storage
    table: LanguageTable
    codes: Sequence[str]
    wiktionary: bool
    staging: str

    def __call__(self, index: int, source: Source) -> StagedLemmas:
        """Return where the lemmas are staged, and the ledger rows of the files."""
        started = time.monotonic()
        path = join(self.staging, shuffle.staged_name(index))
        paths = [file.path for file in source.files]
        wordnets = read_lemmas(paths, self.storage.open_input, self.table, wiktionary=self.wiktionary, codes=self.codes)
        by_code = (pa.table({"lemma": wordnets.lemmas.get(code, [])}, schema=LEMMAS) for code in self.codes)
        shuffle.write_buckets(self.storage, path, LEMMAS, by_code)
        notes = sorted({NOTES[file.kind] for file in wordnet_files(wordnets.rows) if file.kind in NOTES})
        ledger = []
        for file in source.files:
            if (rows := wordnets.rows.get(file.path)) is not None:
                lost = rows if file.path in wordnets.unmapped else 0
                drops = wordnets.drops[file.path] + Counter(no_wikipedia=lost)
                read, error = rows - lost + drops.total(), wordnets.errors.get(file.path)
                ledger.append(ledger_row(file, error, read=read, kept=rows - lost, drops=drops, started=started))
        return StagedLemmas(path, list(wordnets.unmapped), notes, ledger)
