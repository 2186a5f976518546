"""Articles of a CirrusSearch dump: the documents of a wiki's search index, as JSON lines, whose text is plain already.

A line for the index, such as `{"index": {"_id": …}}`, then one with the document's fields, of which `title`,
`namespace` and `text` are read. Redirects are no documents of their own. What `metadata.api` fetches looks the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

from curation.errors import InputError
from metadata.dumps.decompress import blocks

ACTIONS = (["index"], ["create"], ["delete"])


class Document(NamedTuple):
    """One document, its text plain; a line that is none has no text."""

    title: str
    namespace: int
    text: str | None


def is_cirrus(stream: BinaryIO, path: str) -> bool:
    """Tell whether an open file holds JSON lines rather than XML, and rewind it."""
    try:
        head = next(blocks(stream, path), b"")
    except InputError:
        return False
    finally:
        stream.seek(0)
    return head.lstrip()[:1] == b"{"


def iter_documents(lines: Iterable[bytes]) -> Iterator[Document]:
    """Yield every document among the lines of a dump."""
    for line in lines:
        if not line.strip():
            continue
        try:
            found = orjson.loads(line)
        except ValueError:
            found = None
        if not (isinstance(found, dict) and list(found) in ACTIONS):
            yield _document(found)


def _document(found: Any) -> Document:
    fields = found if isinstance(found, dict) else {}
    title, namespace, text = (fields.get(name) for name in ("title", "namespace", "text"))
    if isinstance(title, str) and isinstance(namespace, int) and isinstance(text, str):
        return Document(title, namespace, text)
    return Document("", 0, None)
