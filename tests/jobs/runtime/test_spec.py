"""Which settings are part of a match_id, and which are not."""

from __future__ import annotations

import fasttext
import pytest

from curation.errors import UsageError
from jobs.runtime.config import Config
from jobs.runtime.context import Context
from jobs.runtime.spec import open_match_spec
from support.nights import publish_metadata


@pytest.fixture
def opened(tmp_path):
    """Open the match spec of a lake with metadata, with some `match` keys; no Spark needed."""

    def make(**keys):
        context = Context(Config(lake=str(tmp_path / "lake"), create=True, batch="b", match=keys), "test")
        publish_metadata(context)
        return open_match_spec(context)

    return make


@pytest.fixture
def iso_model(tmp_path):
    (tmp_path / "train.txt").write_text("__label__eng_Latn the dog\n__label__aaa_Latn zyx wvu\n" * 20)
    options = {"dim": 4, "epoch": 2, "thread": 10, "verbose": 0, "minn": 2, "maxn": 3, "bucket": 100}
    fasttext.train_supervised(str(tmp_path / "train.txt"), **options).save_model(str(tmp_path / "iso.bin"))
    return str(tmp_path / "iso.bin")


def test_a_default_match_id_hashes_these_keys(opened):
    keys = {"metadata_version", "language_table", "rules", "lid_model", "min_lid_score", "algorithm", "unicode"}
    assert set(opened().keys) == {*keys, "without_list"}, "the lists of most languages are not built here"


def test_the_script_override_is_part_of_match_id_only_if_it_is_on(opened):
    plain, by_script = opened(script_languages=False), opened(script_languages=True)
    assert plain.match_id == opened().match_id != by_script.match_id
    text = ["ร้าน Starbucks Reserve"]
    assert by_script.identifier().identify(text)[1] == plain.identifier().identify(text)[1]
    assert by_script.identifier().identify([*text, "the dog"])[0][1] == "en"


def test_a_label_map_is_part_of_match_id_only_if_it_changes_a_language(opened, iso_model, tmp_path):
    path = tmp_path / "labels.tsv"
    path.write_text("# the same as the table\nen\ten\n")
    plain = opened()
    assert opened(lid_labels=str(path)).match_id == plain.match_id
    path.write_text("en\tde\n")
    assert opened(lid_labels=str(path)).match_id != plain.match_id

    with pytest.raises(UsageError, match="aaa_Latn"):
        opened(lid_model=iso_model)
    ids = set()
    for line in ("aaa_Latn\tother\n", "aaa_Latn\tde\n", "eng_Latn\tfr\naaa_Latn\tde"):
        path.write_text(line)
        ids.add(opened(lid_model=iso_model, lid_labels=str(path)).match_id)
    assert len({*ids, plain.match_id}) == 4
    path.write_text("*\tde\n")
    assert opened(lid_model=iso_model, lid_labels=str(path)).match_id in ids, "the same map, written differently"
