"""Reads WebDataset tars: samples of an image with its texts, as adjacent members with the same key.

`000/cat.jpg`, `000/cat.txt` and `000/cat.json` are one sample: `curation.readers.webdataset_samples` has the rules. The
text of `.txt` has the source `txt`; `.json` is a table row with the columns named in the config. The image is not read;
its `image_ref` is `<archive>#<member>`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from curation.errors import InputError
from curation.io.failures import first_line
from curation.io.tar_members import TarMember, read_member, tar_members
from curation.occurrence import Occurrence
from curation.readers.columns import Columns
from curation.readers.file_report import FileReport
from curation.readers.lenient_json import decode_utf8, parse_json
from curation.readers.tabular import row_occurrences
from curation.readers.webdataset_samples import TEXTS, Part, PartKinds, Sample, Samples, is_hidden

ARCHIVE = ".tar"  # ending of the names of archives whose members can be referred to
REF = "image_ref"
MAX_MEMBER = 16 << 20  # bytes of a text or .json


def read_webdataset(stream: BinaryIO, report: FileReport, columns: Columns) -> Iterator[Occurrence]:
    """Yield the usable occurrences of an uncompressed tar; count into `report`.

    A `.json` that is not a JSON object is noted (`broken_record`) and skipped; the rest of its sample is used. Members
    that belong to no sample are noted by reason. If the file is truncated or corrupt, the samples before the damage are
    yielded and `report.error` is set. Raises InputError if the file is not a tar, or its name does not end in `.tar`.
    """
    if not report.name.lower().endswith(ARCHIVE):
        raise InputError(f"cannot read {report.name}: its name must end in {ARCHIVE}, so that its images can be found")
    samples = _Reader(stream, report, columns).read()
    # `image_ref` leads to the last of several members with a name; the samples of the others lose their image
    last = {sample.image: number for number, sample in enumerate(samples) if sample.image is not None}
    columns = replace(columns, texts=[*TEXTS, *(name for name in columns.texts if name not in TEXTS)], ref=REF)
    for number, sample in enumerate(samples):
        row = _row(sample)
        if sample.image is not None and last[sample.image] == number:
            row[REF] = f"{report.name}#{sample.image}"
        elif sample.image is not None:
            report.counters.notes["repeated_member"] += 1
        yield from row_occurrences(row, columns, report)


class _Reader:
    """Reads the samples of one archive."""

    def __init__(self, stream: BinaryIO, report: FileReport, columns: Columns) -> None:
        self._stream, self._report, self._columns = stream, report, columns
        self._notes = report.counters.notes
        self._kinds = PartKinds(columns.texts)

    def read(self) -> list[Sample]:
        """Return the samples up to the end or the damage. Raises InputError if the file is not a tar."""
        samples, members = Samples(self._notes), 0
        try:
            for member in tar_members(self._stream):
                members += 1
                part = self._part(member)
                if part is not None:
                    samples.add(part)
        except (OSError, InputError) as error:
            if not members:
                raise InputError(f"cannot read {self._report.name}: {first_line(error)}") from error
            self._report.error = first_line(error)
        return samples.finish()

    def _part(self, member: TarMember) -> Part | None:
        """Return the part of a sample that a member is, with its value; None, and a note why, if it is none."""
        if member.is_folder or not member.whole:
            return None
        if is_hidden(member.name):
            self._notes["hidden_member"] += 1
            return None
        if not member.is_file:
            self._notes["special_member"] += 1
            return None
        part = self._kinds.part(member.name)
        if part is None:
            self._notes["unused_member"] += 1
            return None
        if part.kind == "image":
            return part
        value = self._read_value(member, part)
        return None if value is None else replace(part, value=value)

    def _read_value(self, member: TarMember, part: Part) -> Any:
        """Return a text, or the columns of a JSON object; None, and a note, if it is too large or not an object."""
        if member.size > MAX_MEMBER:
            self._notes["oversized_record"] += 1
            return None
        data = read_member(self._stream, member)
        if part.kind == "text":
            return decode_utf8(data, self._notes)
        try:
            row = parse_json(data, self._notes)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            self._notes["broken_record"] += 1
            return None
        columns = self._columns
        names = {columns.url, columns.page, *columns.texts}
        return {name: row[name] for name in names if name in row}


def _row(sample: Sample) -> dict[str, Any]:
    """Return a sample as a table row; a text column has the texts of members and of the JSON object."""
    row = dict(sample.columns)
    for source, text in sample.texts:
        more = row.get(source)
        row[source] = [text] if more is None else [text, *(more if isinstance(more, list) else [more])]
    return row
