from __future__ import annotations

from metadata.languages import LanguageTable
from metadata.lists.coverage import coverage

TABLE = LanguageTable.load()


def test_every_wikipedia_has_its_own_list_is_merged_or_is_in_other():
    rows = list(coverage(TABLE, set(TABLE.keys), set(TABLE.languages)))
    assert [row.code for row in rows] == list(TABLE.languages)
    assert len(rows) == 330
    assert all(row.built for row in rows)
    ways = {row.code: row.status for row in rows}
    assert sum(status == "own list" for status in ways.values()) == len(TABLE.keys) - 1
    assert {code: status for code, status in ways.items() if status.startswith("merged")} == {
        "be_tarask": "merged into be",
        "nds_nl": "merged into nds",
        "simple": "merged into en",
        "zh_classical": "merged into zh",
        "zh_yue": "merged into zh",
    }
    assert {ways[code] for code in ("ltg", "zh_min_nan", "cdo", "hak", "roa_rup")} == {"in other"}


def test_a_wikipedia_is_built_if_the_build_has_its_source_list_and_its_key():
    rows = {row.code: row.built for row in coverage(TABLE, {"zh", "de"}, {"zh_yue", "de", "fr"})}
    assert {code for code, built in rows.items() if built} == {"zh_yue", "de"}
