from __future__ import annotations

import random
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import UsageError
from curation.lid import fasttext_file
from curation.lid import identifier as identifier_module
from curation.lid.fasttext_file import read_model
from curation.lid.fasttext_predict import BLOCK_BYTES, BLOCK_TEXTS, Predictor
from curation.lid.identifier import LanguageIdentifier, PackagePredictor
from curation.models import default_model_path

SOUP = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\0\n\r\t\v\f 　'ab'éक्षि한e\u0301👩\u200d🚀")),
    max_size=8,
)
ODD = [
    "",
    " ",
    "</s>",
    "a </s> b",
    "</s>a b",
    "__label__de",
    "__label__ und __label__nothing",
    "x __label__xyz y",
    "__label",
    "der\0Hund\vund\fdie\rKatze",
    "a" * 70_000,
    "чай " * 20_000,
    "\u0301" * 300,
    "𝔸𝔹 👩\u200d🚀 \u202e\u200f",
]


@pytest.fixture(scope="module")
def model() -> Path:
    try:
        return default_model_path()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def ours(model):
    return Predictor(read_model(model))


@pytest.fixture(scope="module")
def package(model):
    return fasttext.load_model(str(model))


def assert_same(predictor, package, texts):
    """Compare with the package, for which a line feed would start a second text."""
    labels, scores = predictor.predict(pa.array(texts, pa.string()))
    theirs = package.predict([text.replace("\n", " ") or " " for text in texts])
    expected = [labels[0] if labels else None for labels in theirs[0]]
    assert [predictor.labels[label] if label >= 0 else None for label in labels] == expected
    assert scores == pytest.approx([found[0] if len(found) else 0 for found in theirs[1]], abs=1e-5)
    assert scores.dtype == np.float32


def test_labels_of_real_sentences_equal_those_of_the_package(ours, package, fixtures_dir):
    texts = []
    for path in sorted((fixtures_dir / "laser-tatoeba" / "data" / "tatoeba" / "v1").glob("tatoeba.*-eng.*")):
        texts += path.read_text(encoding="utf-8").splitlines()[:: 40 if path.suffix == ".eng" else 5]
    assert len(texts) > 18_000
    assert_same(ours, package, texts)


def test_labels_of_words_and_emoji_names_equal_those_of_the_package(ours, package, fixtures_dir):
    texts = []
    for path in sorted((fixtures_dir / "gatitos").glob("*.tsv")):
        texts += [line.split("\t")[1] for line in path.read_text(encoding="utf-8").splitlines()[::40] if "\t" in line]
    texts += (fixtures_dir / "emoji-pairs-base.tsv").read_text(encoding="utf-8").splitlines()[::20]
    assert len(texts) > 20_000
    assert_same(ours, package, texts)


def test_labels_of_odd_texts_equal_those_of_the_package(ours, package):
    assert_same(ours, package, ODD)


def test_a_text_of_a_megabyte_is_read(ours, package):
    dice = random.Random(1)
    assert_same(ours, package, ["".join(dice.choices("ein kleiner Hund, 小犬 та інші\t", k=700_000))])


@settings(max_examples=200, deadline=None)  # compiled at the first call
@given(SOUP)
def test_labels_of_any_text_equal_those_of_the_package(ours, package, texts):
    assert_same(ours, package, texts)


def test_answers_do_not_depend_on_the_blocks(ours):
    texts = [f"some text {number} {'long ' * (number % 7 * 30)}" for number in range(2 * BLOCK_TEXTS + 1)]
    texts[5] = "x" * BLOCK_BYTES + " y"
    labels, scores = ours.predict(pa.array(texts))
    for place in [0, 4, 5, 6, BLOCK_TEXTS - 1, BLOCK_TEXTS, 2 * BLOCK_TEXTS]:
        [label], [score] = ours.predict(pa.array([texts[place]]))
        assert (label, score) == (labels[place], scores[place])


# Small models of every kind. Their weights are random: training with one thread starts from uninitialized memory.


def corpus(labels: int) -> list[str]:
    dice = random.Random(labels)
    words = ["".join(dice.choices("abcdeéжи한語", k=dice.randint(1, 7))) for _ in range(400)]
    return [
        " ".join([f"__label__{n % labels}", *dice.choices(words[n % labels :: 3] + words[:9], k=dice.randint(1, 8))])
        for n in range(max(300, 2 * labels))
    ]


PLAIN = {"minn": 2, "maxn": 4, "wordNgrams": 1}
KINDS = {
    "softmax": ("softmax", 5, PLAIN, {}),
    "softmax, no n-grams": ("softmax", 5, {"minn": 0, "maxn": 0, "wordNgrams": 1}, {}),
    "softmax, n-grams of words": ("softmax", 5, {"minn": 0, "maxn": 0, "wordNgrams": 3}, {}),
    "softmax, one label": ("softmax", 1, PLAIN, {}),
    "hierarchical": ("hs", 40, PLAIN, {}),
    "hierarchical, one label": ("hs", 1, PLAIN, {}),
    "hierarchical, all n-grams": ("hs", 7, {"minn": 0, "maxn": 3, "wordNgrams": 2}, {}),
    "one against all": ("ova", 20, PLAIN, {}),
    "negative sampling": ("ns", 9, {"minn": 1, "maxn": 2, "wordNgrams": 1}, {}),
    "quantized": ("softmax", 5, PLAIN, {"qnorm": False}),
    "quantized, norms": ("hs", 40, PLAIN, {"qnorm": True, "dsub": 3}),
    "quantized, pruned": ("hs", 40, PLAIN, {"qnorm": True, "cutoff": 600}),
    "quantized, pruned, n-grams of words": ("softmax", 5, {**PLAIN, "wordNgrams": 2}, {"cutoff": 500}),
    "quantized, outputs too": ("softmax", 300, PLAIN, {"qnorm": True, "qout": True, "cutoff": 900}),
    "quantized, outputs too, hierarchical": ("hs", 300, PLAIN, {"qout": True}),
}


def make(folder, kind):
    loss, labels, options, quantizing = KINDS[kind]
    (folder / "text").write_text("\n".join(corpus(labels)))
    made = fasttext.train_supervised(
        str(folder / "text"), loss=loss, dim=10, bucket=1500, epoch=0, thread=1, verbose=0, **options
    )
    dice = np.random.default_rng(labels)
    made.set_matrices(*(dice.normal(0, 2, old.shape).astype(np.float32) for old in matrices(made)))
    if quantizing:
        made.quantize(**quantizing)
    made.save_model(str(folder / "model"))
    return folder / "model"


def matrices(package):
    return package.get_input_matrix(), package.get_output_matrix()


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_every_kind_predict_like_the_package(tmp_path, kind):
    path = make(tmp_path, kind)
    predictor, package = Predictor(read_model(path)), fasttext.load_model(str(path))
    assert predictor.labels == package.get_labels()
    texts = [line.split(" ", 1)[1] for line in corpus(KINDS[kind][1])]
    odd = [text for text in ODD if len(text) < 100]
    assert_same(predictor, package, [*texts, *(text[::-1] for text in texts), *odd, "한 語 ж", "zzz", "abc 語abcd"])


def test_a_model_of_another_kind_is_left_to_the_package(tmp_path, monkeypatch):
    path = make(tmp_path, "quantized")
    labels = {str(n): f"lang{n}" for n in range(5)}
    texts = [line.split(" ", 1)[1] for line in corpus(5)] + ["", "a\nb\0c"]
    ours = LanguageIdentifier(path, labels)
    monkeypatch.setattr(fasttext_file, "MAX_DECODED", 100)
    identifier_module._load.cache_clear()
    left = LanguageIdentifier(path, labels)
    assert isinstance(left._model, PackagePredictor)
    assert left.identify(texts)[0] == ours.identify(texts)[0]
    assert left.identify(texts)[1] == pytest.approx(ours.identify(texts)[1], abs=1e-5)
