from __future__ import annotations

import pytest
from pydantic import ValidationError

from training.methods.method import Method
from training.methods.terms import InfoNCETerm
from training.methods.views import StoredTexts

TEXT, IMAGE, KEY, FRAMES = ({"kind": kind} for kind in ("text", "image", "key", "frames"))


def method(**keys) -> Method:
    return Method.model_validate({"name": "x", "summary": "a method"} | keys)


def test_the_default_is_plain_contrastive_training():
    plain = method()
    assert plain.terms == (InfoNCETerm(between=("image", "text"), scale="shared"),)
    assert plain.views["text"].sources == {"published": 1.0}
    assert plain.views["image"].area == (0.9, 1.0)
    assert (plain.group.ranks, plain.rows, plain.targets) == ("all", None, None)


PUBLISHED = {
    "declip": {
        "views": {
            "image": IMAGE | {"augment": "moco"},
            "image_2": IMAGE | {"augment": "moco"},
            "text": TEXT | {"mask": 0.15},
            "text_2": TEXT | {"edits": ["swap", "delete", "synonym"]},
        },
        "terms": [
            {"kind": "info_nce", "between": [image, text], "weight": 0.1}
            for image in ("image", "image_2")
            for text in ("text", "text_2")
        ]
        + [
            {"kind": "siamese", "weight": 0.2},
            {"kind": "neighbor", "images": ["image", "image_2"], "texts": ["text", "text_2"], "weight": 0.2},
            {"kind": "masked_words", "weight": 0.2},
        ],
    },
    "cll": {
        "views": {
            "text": TEXT,
            "teacher_text": {"kind": "vector", "column": "teacher_text", "size": 512},
            "teacher_image": {"kind": "vector", "column": "teacher_image", "size": 512},
            "image_key": KEY,
        },
        "terms": [
            {"kind": "pull", "between": ["text", "teacher_text"], "by": "mse"},
            {
                "kind": "info_nce",
                "between": ["text", "teacher_image"],
                "same": "image_key",
                "scale": "own",
                "weight": 0.01,
            },
        ],
        "rows": {"language": "it"},
        "phase": {"train": ["text_model.embeddings.token_embedding.weight"]},
    },
    "clip_vip": {
        "views": {"frames": FRAMES, "middle": FRAMES | {"count": 1}, "subtitle": TEXT, "caption": TEXT},
        "terms": [{"kind": "omni_source"}],
    },
    "tulip": {
        "views": {"image": IMAGE, "image_2": IMAGE, "text": TEXT, "hard": TEXT | {"sources": {"hard_texts": 1}}},
        "terms": [
            {"kind": "sigmoid", "negatives": [None, "hard"]},
            {"kind": "sigmoid", "between": ["image", "image_2"], "scale": "own"},
        ],
        "targets": {"momentum": 0.996},
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_methods_are_settings(name):
    found = method(**PUBLISHED[name])
    assert len(found.terms) == len(PUBLISHED[name]["terms"])
    assert Method.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"terms": [{"kind": "info_nce", "between": ["image", "txt"]}]},
            "terms: info_nce reads the unknown view 'txt': choose among image, text",
        ),
        (
            {"views": {"image": IMAGE, "text": TEXT, "caption": TEXT}},
            "views.caption: no term reads it: remove the view or add a term",
        ),
        (
            {"terms": [{"kind": "siamese", "between": ["image", "text"]}]},
            "terms: siamese cannot read the view 'text' of kind text: use one of kind frames or image",
        ),
        (
            {"terms": [{"kind": "info_nce", "same": "text"}]},
            "terms: info_nce cannot read the view 'text' of kind text: use one of kind key",
        ),
        (
            {"terms": [{"kind": "info_nce"}, {"kind": "masked_words"}]},
            "views.text.mask: is 0, but masked_words reads the view: set a share",
        ),
        ({"views": {"image": IMAGE, "text": TEXT | {"sources": {"a": 0}}}}, "sources: all weights are 0"),
        ({"views": {"image": IMAGE | {"area": [0.9, 0.5]}, "text": TEXT}}, "area: 0.9 is more than 0.5"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused_in_one_line(keys, line):
    with pytest.raises(ValidationError) as caught:
        method(**keys)
    (error,) = caught.value.errors()
    assert line in error["msg"]
    assert "\n" not in error["msg"]


def test_texts_that_shards_do_not_have_are_refused():
    with pytest.raises(ValidationError, match="sources: 'tales' is not in the shards or annotations: choose among "):
        StoredTexts(sources={"tales": 1})


@pytest.mark.parametrize("key", ["source_weights", "language_weights"])
def test_weights_of_texts_that_are_not_drawn_are_refused(key):
    assert StoredTexts(sources={"matched": 1}, **{key: {"de": 2}})
    with pytest.raises(ValidationError, match=f"{key}: no matched text of an image is drawn: give sources.matched"):
        StoredTexts(**{key: {"de": 2}})
    with pytest.raises(ValidationError, match="greater than 0"):
        StoredTexts(sources={"matched": 1}, **{key: {"de": 0}})


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        method(terms=[{"kind": "info_nce", "halves": True}])
