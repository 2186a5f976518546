"""The example runs an ONNX model from a file; its scores are those of numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation.cli.config import ImagesSection
from curation.errors import UsageError
from curation.images.codec.pixels import Pixels
from curation.images.filters import load
from curation.images.filters.apply import FilterRun
from curation.images.filters.base import DecodedImage

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "image-filters"
WEIGHTS = np.array([[1.0, -2.0], [0.5, 0.5], [-3.0, 1.0]], np.float32)  # of the mean of each channel, for two labels
GRAY = {"mean": [0, 0, 0], "std": [1, 1, 1], "size": 8}


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A model whose two outputs are weighted means of the channels."""
    monkeypatch.syspath_prepend(EXAMPLES)
    load._load.cache_clear()
    shape, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["image"], ["means"]),
        onnx.helper.make_node("Flatten", ["means"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "weights"], ["labels"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "means",
        [shape("image", kind, [1, 3, 8, 8])],
        [shape("labels", kind, [1, 2])],
        [onnx.numpy_helper.from_array(WEIGHTS, "weights")],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "labels.onnx"
    path.write_bytes(made.SerializeToString())
    return str(path)


def filters(**keys):
    return load.load_filters(ImagesSection(filters=[{"filter": "onnx_score:OnnxScore", **GRAY, **keys}]).filters)


def picture(*color):
    return DecodedImage("0", "", np.full((20, 30, 3), color, np.uint8))


def logits(*color):
    return np.array(color) / 255 @ WEIGHTS.astype(np.float64)


COLORS = [(255, 0, 0), (0, 255, 0), (30, 60, 200), (255, 255, 255)]


@pytest.mark.parametrize("label", [0, 1])
def test_scores_are_those_of_numpy(model, label):
    for activation, expected in (
        ("none", lambda values: values),
        ("sigmoid", lambda values: 1 / (1 + np.exp(-values))),
        ("softmax", lambda values: np.exp(values) / np.exp(values).sum()),
    ):
        [only] = filters(model=model, label=label, activation=activation, name=f"label_{activation}")
        scores = [verdict.score for verdict in only([picture(*color) for color in COLORS])]
        assert scores == pytest.approx([expected(logits(*color))[label] for color in COLORS], abs=1e-5)


def test_images_above_the_threshold_are_dropped_under_the_name(model):
    run = FilterRun(
        filters(model=model, label=1, activation="softmax", name="nsfw", max_score=0.5), dict.fromkeys("0123", "")
    )
    for position, color in enumerate(COLORS):
        run.add(position, str(position), Pixels(30, 20, bytes(color) * 600))
    reasons = [decision.reason for decision in run.finish().values()]
    assert reasons == ["nsfw" if values[1] > values[0] else None for values in (logits(*color) for color in COLORS)]
    assert {"nsfw", None} == set(reasons)


def test_another_model_is_another_setting_and_a_missing_one_is_named(model):
    section = ImagesSection(filters=[{"filter": "onnx_score:OnnxScore", "model": model}]).filters
    before = load.filter_keys(section)
    Path(model).write_bytes(Path(model).read_bytes() + b"\0")
    assert load.filter_keys(section) != before
    with pytest.raises(UsageError, match=r"refuses its parameters \(ValueError: there is no model /gone"):
        filters(model="/gone")


def test_a_file_that_is_no_model_costs_the_images(model):
    Path(model).write_bytes(b"no model")
    run = FilterRun(filters(model=model), {"0": ""})
    run.add(0, "0", Pixels(1, 1, bytes(3)))
    assert run.finish()[0].reason == "filter_failed"
