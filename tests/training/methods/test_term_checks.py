from __future__ import annotations

import pytest
from pydantic import ValidationError

from training.config import TrainConfig
from training.methods.terms import InfoNCETerm
from training.methods.views import StoredTexts

FRAMES = {"kind": "frames"}
VIDEO_PAIRS = [
    {"kind": "info_nce", "between": ["frames", "text"]},
    {"kind": "pull", "between": ["text", "target.text"]},
]
TEXT, IMAGE, KEY = ({"kind": kind} for kind in ("text", "image", "key"))


def config(**keys) -> TrainConfig:
    return TrainConfig(steps=10, **keys)


def test_the_default_is_plain_contrastive_training():
    plain = config()
    assert plain.all_terms == (InfoNCETerm(between=("image", "text"), scale="shared"),)
    assert plain.all_views["text"].sources == {"published": 1.0}
    assert plain.all_views["image"].area == (0.9, 1.0)
    assert (plain.group.ranks, plain.targets) == ("all", None)


def test_the_short_forms_describe_the_views_image_and_text():
    views = config(crop={"area": (0.5, 1), "augment": "moco"}, text={"edits": ["swap"]}).all_views
    assert (views["image"].area, views["image"].augment, views["text"].edits) == ((0.5, 1.0), "moco", ("swap",))


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
            "terms: siamese cannot read the view 'text' of kind text: use one of kind image",
        ),
        (
            {"terms": [{"kind": "info_nce", "same": "text"}]},
            "terms: info_nce cannot read the view 'text' of kind text: use one of kind key",
        ),
        (
            {"terms": [{"kind": "info_nce"}, {"kind": "masked_words"}]},
            "views.text.mask: is 0, but masked_words reads the view: set a share",
        ),
        (
            {"terms": [{"kind": "info_nce"}, {"kind": "pull", "between": ["text", "target.text"]}]},
            "terms: one reads 'target.text', but there are no targets: set targets.momentum",
        ),
        ({"targets": {}}, "targets: no term reads one, such as 'target.image': remove the key or add a term"),
        (
            {"targets": {}, "terms": [{"kind": "info_nce", "between": ["target.image", "target.text"]}]},
            "terms: info_nce trains nothing with 'target.image': name a view without 'target.'",
        ),
        (
            {"targets": {}, "terms": [{"kind": "info_nce"}, {"kind": "pull", "between": ["target.text", "text"]}]},
            "terms: pull trains nothing with 'target.text'",
        ),
        ({"loss": "sigmoid", "terms": [{"kind": "info_nce"}]}, "loss: terms has these settings: set one of both"),
        ({"crop": {"augment": "moco"}, "views": {"image": IMAGE, "text": TEXT}}, "crop: views has these settings"),
        (
            {
                "views": {"image": IMAGE, "image_2": IMAGE, "text": TEXT},
                "terms": [{"kind": "info_nce"}, {"kind": "siamese"}],
                "group": {"accumulate": 2},
            },
            "group.accumulate: siamese needs statistics of the whole batch: set it to 1",
        ),
        ({"phases": [{}, {}], "parallel": "fsdp"}, "parallel: phases works with ddp: remove one of both keys"),
        ({"views": {"image": IMAGE, "text": TEXT | {"sources": {"a": 1}}}}, "sources: 'a' is not in the shards"),
        ({"views": {"image": IMAGE, "text": TEXT | {"sources": {"matched": 0}}}}, "sources: all weights are 0"),
        ({"views": {"image": IMAGE | {"area": [0.9, 0.5]}, "text": TEXT}}, "area: 0.9 is more than 0.5"),
        ({"terms": [{"kind": "info_nce", "halves": True}]}, "Extra inputs are not permitted"),
        (
            {"views": {"image": IMAGE, "text": TEXT | {"optional": True}}},
            "views.text.optional: info_nce needs a text of every sample: only the second text of omni_source",
        ),
        (
            {"views": {"image": IMAGE, "text": TEXT}, "terms": [{"kind": "omni_source"}]},
            "terms: omni_source reads the unknown view 'frames': choose among image, text",
        ),
        (
            {"views": {"frames": FRAMES, "text": TEXT}, "targets": {}, "terms": VIDEO_PAIRS},
            "targets: have no proxies for frames: remove them or the views of kind frames",
        ),
        (
            {"views": {"frames": FRAMES, "text": TEXT}, "parallel": "fsdp", "terms": VIDEO_PAIRS[:1]},
            "parallel: views of kind frames work with ddp: remove the key",
        ),
        ({"method": "clip_vip", "views": {"frames": {"area": [0.9, 0.5]}}}, "area: 0.9 is more than 0.5"),
        ({"method": "clap"}, "method: there is no 'clap': choose among "),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused_in_one_line(keys, line):
    with pytest.raises(ValidationError) as caught:
        config(**keys)
    (error,) = caught.value.errors()
    assert line in error["msg"]
    assert "\n" not in error["msg"]


@pytest.mark.parametrize("key", ["source_weights", "language_weights"])
def test_weights_of_texts_that_are_not_drawn_are_refused(key):
    assert StoredTexts(sources={"matched": 1}, **{key: {"de": 2}})
    with pytest.raises(ValidationError, match=f"{key}: no matched text of an image is drawn: give sources.matched"):
        StoredTexts(**{key: {"de": 2}})
    with pytest.raises(ValidationError, match="greater than 0"):
        StoredTexts(sources={"matched": 1}, **{key: {"de": 0}})
