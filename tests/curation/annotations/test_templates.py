from __future__ import annotations

import pyarrow as pa
import pytest

from curation.annotations.load import load_maker
from curation.cli.annotate_config import AnnotateSection
from curation.errors import UsageError

MAKER = "curation.annotations.templates:Templates"
ENGLISH = ["a photo of {}", "{}, a drawing", "this is {}"]
TEXTS = [("a {} dog", "en"), ("a cat", "en"), ("un chat", "fr"), ("一只猫", "zh")]
ROWS = pa.table(
    {
        "text": [text for text, _ in TEXTS],
        "lang": [lang for _, lang in TEXTS],
        "texts": [[{"text": "other"}, {"text": text}] for text, _ in TEXTS],
    }
)


def made(rows: pa.Table = ROWS, seed: int = 0, **keys) -> list[list[dict]]:
    section = AnnotateSection(makers={"rewrites": {"maker": MAKER, **keys}})
    return list(load_maker(section, "rewrites")(rows, seed))


def test_a_text_is_put_into_templates_of_its_language():
    found = made(templates={"en": ENGLISH, "zh": ["{}的照片"]}, count=2)
    assert [len(texts) for texts in found] == [2, 2, 0, 1]
    assert {text["text"] for text in found[0]} < {template.replace("{}", "a {} dog") for template in ENGLISH}
    assert found[3] == [{"text": "一只猫的照片", "style": "template", "of": 1}]


def test_the_templates_of_a_text_depend_on_text_and_seed_alone():
    whole = made(templates={"en": ENGLISH}, count=1)
    assert made(ROWS.slice(1, 1), templates={"en": ENGLISH}, count=1) == whole[1:2]
    drawn = {made(seed=seed, templates={"en": ENGLISH}, count=1)[1][0]["text"] for seed in range(30)}
    assert len(drawn) == len(ENGLISH)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"templates": {"en": ["no place"]}}, r"templates\.en: 'no place' needs one \{\}, the place of the text"),
        ({"templates": {}}, "templates must name a language"),
        ({"templates": {"en": ENGLISH}, "count": 0}, "count must be at least 1"),
    ],
)
def test_wrong_parameters_are_refused_in_one_line(keys, problem):
    with pytest.raises(UsageError, match=problem) as caught:
        made(**keys)
    assert "\n" not in str(caught.value)
