"""The lake's paths are the documented ones; files name the run that wrote them."""

from __future__ import annotations

import pytest

from curation.lake.layout import LakeLayout, data_file_name, matcher_name, partition_folder, run_id_of


@pytest.fixture(params=["/data/lake", "s3://bucket/prefix"])
def layout(request):
    return LakeLayout(request.param)


def test_paths_are_the_documented_ones(layout):
    paths = {
        layout.table("pairs"): "pairs",
        layout.recipe("default"): "recipes/default.json",
        layout.lease("default"): "leases/default",
        layout.latest_matchers: "matchers/latest.json",
        layout.manifest("v1", "4.2"): "matchers/v1/manifest.4.2.json",
        layout.matcher("v1", matcher_name("worldwide", "4.2", "en")): "matchers/v1/worldwide.4.2/en.matcher",
        layout.batch_page("default", "b1"): "reports/default/b1.html",
        layout.metadata_page("v1"): "reports/metadata/v1.html",
        layout.metrics: "reports/metrics",
        layout.run_staging("r1"): "_staging/r1",
        layout.group_cache("b1"): "_staging/groups/b1",
    }
    assert [path.removeprefix(f"{layout.root}/") for path in paths] == list(paths.values())


def test_a_staged_file_belongs_to_its_run_and_a_cached_group_to_none(layout):
    assert layout.staging_run_id(f"{layout.run_staging('r1')}/a/b.arrow") == "r1"
    assert layout.staging_run_id(f"{layout.group_cache('b1')}/x.arrow") is None
    assert layout.staging_run_id(f"{layout.staging}/x.arrow") is None


def test_a_data_file_names_its_run_and_sorts_by_ordinal_and_part():
    names = [data_file_name(ordinal, part, "f") for ordinal in (0, 2, 10) for part in (0, 2, 10)]
    assert names == sorted(names)
    folder = partition_folder({"match_id": "m", "batch": "b"})
    assert folder == "match_id=m/batch=b"
    assert run_id_of(f"/lake/counts/{folder}/r1/{names[0]}") == "r1"
