"""The parameters are complete, and an arm is one file."""

from __future__ import annotations

import pytest

from curation.cli.config import BalanceSection
from curation.errors import UsageError
from metadata.languages import LanguageTable
from proof.settings import ARMS_FOLDER, read_arm, read_world

WORLD = read_world()
ARMS = sorted(path.stem for path in ARMS_FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_has_a_balance_that_the_jobs_accept(name):
    BalanceSection(**read_arm(name).balance)


def test_scales_and_claims_name_arms_that_exist():
    named = {arm for scale in WORLD.scales.values() for arm in scale.arms}
    named |= {arm for claim in WORLD.claims for arm in (claim.better, claim.worse)}
    assert named == set(ARMS)
    assert set(WORLD.scales["full"].arms) == set(ARMS)


def test_every_style_and_every_language_is_known():
    assert set(WORLD.styles) < set(WORLD.packages)
    assert len({style.artist for style in WORLD.styles.values()}) == 4
    assert len(WORLD.held_out) == 2
    assert set(WORLD.languages) <= LanguageTable.load().languages.keys()
    assert len(WORLD.languages) >= 40


def test_arms_with_the_same_curation_share_a_recipe_and_others_do_not():
    assert read_arm("english").recipe == read_arm("t_per_language").recipe == read_arm("scaled").recipe
    others = ["t_per_language", "one_t", "merged", "no_isolation", "raw", "online"]
    assert len({read_arm(name).recipe for name in others}) == len(others)


def test_a_new_arm_is_one_file(tmp_path):
    text = "title: A smaller tail\nmetadata: by_language\nbalance: {policy: tail_proportion, tail_share: 0.01}\n"
    (tmp_path / "small_tail.yaml").write_text(text)
    arm = read_arm("small_tail", tmp_path)
    assert arm.recipe.startswith("by_language-tail_proportion-")
    assert arm.recipe != read_arm("t_per_language").recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [("title: A\n", "metadata"), ("title: A\nmetadata: other\nbalance: {}\n", "metadata"), ("a: [", "is not YAML")],
)
def test_a_wrong_arm_is_refused_by_name(tmp_path, text, message):
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_arm("wrong", tmp_path)


def test_an_unknown_arm_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="choose one of english"):
        read_arm("eleventh")
