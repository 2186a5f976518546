"""Articles of a CirrusSearch dump: the documents of a wiki's search index as JSON lines, with plain text.

Each document has two lines: one for the index, such as `{"index": {"_id": …}}`, and one with the document's fields. The
fields `title`, `namespace` and `text` are read. Redirects have no documents. `metadata.api` writes the same layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

from curation.errors import InputError
from metadata.dumps.decompress import read_blocks

ACTIONS = (["index"], ["create"], ["delete"])


class Document(NamedTuple):
    """One document with its plain text; the text is None if the line is not a document."""

    title: str
    namespace: int
    text: str | None


def is_cirrus(stream: BinaryIO, path: str) -> bool:
    """Return whether an open file holds JSON lines rather than XML, and rewind it."""
    try:
        head = next(read_blocks(stream, path), b"")
    except InputError:
        return False
    finally:
        stream.seek(0)
    return head.lstrip()[:1] == b"{"


def iter_documents(lines: Iterable[bytes]) -> Iterator[Document]:
    """Yield every document in the lines of a dump."""
    for line in lines:
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except ValueError:
            value = None
        if not (isinstance(value, dict) and list(value) in ACTIONS):
            yield _document(value)


def _document(value: Any) -> Document:
    fields = value if isinstance(value, dict) else {}
    title, namespace, text = (fields.get(name) for name in ("title", "namespace", "text"))
    if isinstance(title, str) and isinstance(namespace, int) and isinstance(text, str):
        return Document(title, namespace, text)
    return Document("", 0, None)
