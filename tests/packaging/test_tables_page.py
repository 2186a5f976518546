"""docs/tables.md describes the columns, types and partitions that the tables have."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from curation.lake.schemas import PARTITIONS, SCHEMAS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")


def name_of(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list<{name_of(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(field.name for field in kind)}>"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return {"date32[day]": "date32"}.get(str(kind), str(kind))


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_page_has_the_columns_and_types_of_a_table(name):
    described = []
    for line in section(name).splitlines():
        if line.startswith("| `"):
            columns, kind, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            described += [(column, kind) for column in re.findall(r"`(\w+)`", columns)]
            assert meaning
    assert described == [(field.name, name_of(field.type)) for field in SCHEMAS[name]]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_page_has_the_partitions_of_a_table(name):
    stated = re.search(r"[Pp]artitioned by ((?:`\w+`(?:, )?)+)", section(name))
    assert tuple(re.findall(r"`(\w+)`", stated[1]) if stated else ()) == PARTITIONS[name]
