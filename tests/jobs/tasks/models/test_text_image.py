"""Scores are the cosines that transformers gives; a model that cannot score is refused before Spark starts."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from curation.cli.config import ImagesSection
from curation.errors import UsageError
from curation.images.filters.base import DecodedImage
from curation.images.filters.load import load_filters
from jobs.tasks.models.text_image import TextImageScore
from support.model_folders import KINDS, save_clip
from support.shards import draw

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["a red circle", "", "a blue square with many more words than the context has room for, as captions go"]


def image(number, text):
    pixels = np.asarray(Image.open(io.BytesIO(draw(number, 40)[0])).convert("RGB"))
    return DecodedImage(str(number), text, pixels)


IMAGES = [image(n, TEXTS[n % 3]) for n in range(7)]


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp(request.param), request.param)


def cosine(folder, one):
    """Return the similarity that the model itself gives an image and its text."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    inputs = processor(text=[one.text], images=[one.pixels], truncation=True, max_length=16, return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    return torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds).item()


def test_the_score_is_the_cosine_of_the_model_in_any_batch(folder):
    score = TextImageScore(folder)
    together = [verdict.score for verdict in score(IMAGES)]
    assert together == pytest.approx([cosine(folder, one) for one in IMAGES], abs=2e-4)
    assert together == pytest.approx([score([one])[0].score for one in IMAGES], abs=1.1e-4)
    assert len(set(together)) == len(IMAGES)


def test_images_below_the_threshold_are_dropped(folder):
    scores = [verdict.score for verdict in TextImageScore(folder)(IMAGES)]
    assert all(verdict.keep for verdict in TextImageScore(folder)(IMAGES))
    limit = sorted(scores)[3]
    verdicts = TextImageScore(folder, min_score=limit)(IMAGES)
    assert [verdict.keep for verdict in verdicts] == [score >= limit for score in scores]


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (1, 3), (3, 200), (200, 3)])
def test_every_shape_of_an_image_has_a_score(folder, size):
    [verdict] = TextImageScore(folder)([DecodedImage("0", "a", np.zeros((*size, 3), np.uint8))])
    assert -1 <= verdict.score <= 1


def test_a_model_without_weights_raises(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for name in ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{folder}/{name}", tmp_path)
    weights = load_file(f"{folder}/model.safetensors")
    weights.pop("visual_projection.weight")
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks weights of its model: visual_projection\.weight"):
        TextImageScore(str(tmp_path))(IMAGES)


def configured(**keys):
    section = ImagesSection(filters=[{"filter": "jobs.tasks.models.text_image:TextImageScore", **keys}])
    return load_filters(section.filters)


def test_wrong_parameters_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"refuses its parameters \(TypeError: .*'model'"):
        configured()
    with pytest.raises(UsageError, match=r"text_image_score: .* has no config.json of a model: give the folder of one"):
        configured(model=str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="has a model of type 'bert': give one like CLIP or SigLIP"):
        configured(model=str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(UsageError, match="ValueError: min_score must be from -1 to 1"):
        configured(model=str(tmp_path), min_score=2)
    monkeypatch.setattr("jobs.tasks.models.pretrained.find_spec", lambda name: None if name == "torch" else name)
    with pytest.raises(UsageError, match=r"needs torch: run pip install 'worldcurate\[train\]'"):
        configured(model=str(tmp_path))


def test_loading_the_filter_imports_neither_torch_nor_transformers(folder):
    code = (
        "import sys; from curation.cli.config import ImagesSection; from curation.images.filters.load import *\n"
        "name = 'jobs.tasks.models.text_image:TextImageScore'\n"
        "section = ImagesSection(filters=[{'filter': name, 'model': sys.argv[1]}])\n"
        "assert load_filters(section.filters) and filter_keys(section.filters)\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, folder], check=True, timeout=120)
