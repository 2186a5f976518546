"""The wordnet part of build_metadata: all files in one task, lemmas staged by Wikipedia."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from curation.io.storage import Storage, join
from curation.lake import shuffle
from jobs.runtime.ledger import ledger_result
from jobs.runtime.run_tasks import Result
from metadata.languages import LanguageTable
from metadata.lists.build import read_lemmas
from metadata.lists.wordnet import wordnet_files
from metadata.sources import Source

LEMMAS = pa.schema([("lemma", pa.string())])
NOTES = {
    "data": "English wordnet: the first lemma of each synset, case kept, from Princeton's data files",
    "index": "English wordnet: every lemma, lower case as it stands there, from Princeton's index files alone",
}


@dataclass(frozen=True)
class ReadWordnets:
    """Reads the wordnet files and stages their lemmas: record batch n holds those of Wikipedia n of `codes`."""

    storage: Storage
    table: LanguageTable
    codes: Sequence[str]
    wiktionary: bool
    staging: str

    def __call__(self, index: int, source: Source) -> Iterator[Result]:
        """Yield where the lemmas are staged, and the ledger rows of the files."""
        started = time.monotonic()
        path = join(self.staging, shuffle.staged_name(index))
        paths = [file.path for file in source.files]
        found = read_lemmas(paths, self.storage.open_input, self.table, wiktionary=self.wiktionary)
        by_code = (pa.table({"lemma": found.lemmas.get(code, [])}, schema=LEMMAS) for code in self.codes)
        shuffle.write_buckets(self.storage, path, LEMMAS, by_code)
        notes = sorted({NOTES[file.kind] for file in wordnet_files(found.rows) if file.kind in NOTES})
        yield Result("wordnet", stats={"path": path, "unmapped": found.unmapped, "notes": notes})
        for file in source.files:
            if (rows := found.rows.get(file.path)) is not None:
                lost = rows if file.path in found.unmapped else 0
                drops = found.drops[file.path] + Counter(no_wikipedia=lost)
                read = rows - lost + drops.total()
                yield ledger_result(file, found.errors.get(file.path), read, rows - lost, drops, started)
