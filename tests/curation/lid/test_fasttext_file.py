from __future__ import annotations

import random
import re

import fasttext
import numpy as np
import pytest

from curation.errors import UsageError
from curation.lid.fasttext_file import HIERARCHICAL, read_model
from curation.lid.identifier import LanguageIdentifier
from curation.models import default_model_path


@pytest.fixture(scope="module")
def content():
    try:
        return default_model_path().read_bytes()
    except UsageError as error:
        pytest.skip(str(error))


def test_words_labels_and_rows_equal_those_of_the_package(content, tmp_path):
    (tmp_path / "text").write_text("__label__b a b\n__label__a b c\n__label__a c d\n" * 10)
    package = fasttext.train_supervised(
        str(tmp_path / "text"), dim=7, minn=2, maxn=3, bucket=50, epoch=0, thread=1, verbose=0
    )
    package.set_matrices(np.arange(55 * 7, dtype=np.float32).reshape(55, 7), np.eye(2, 7, dtype=np.float32))
    package.save_model(str(tmp_path / "model"))
    model = read_model(tmp_path / "model")
    assert [word.decode() for word in model.words] == package.get_words()
    assert model.labels == package.get_labels() == ["__label__a", "__label__b"]
    assert model.label_counts == [20, 10]
    assert np.array_equal(model.rows, package.get_input_matrix())
    assert np.array_equal(model.outputs, package.get_output_matrix())


def test_quantized_rows_equal_those_of_the_package(content):
    model, package = read_model(default_model_path()), fasttext.load_model(str(default_model_path()))
    assert (model.loss, model.rows.shape, model.outputs.shape) == (HIERARCHICAL, (50_000, 16), (176, 16))
    for row in range(0, 50_000, 997):
        assert package.get_input_vector(row) == pytest.approx(model.rows[row], abs=1e-6)


@pytest.mark.parametrize("share", [1e-5, 1e-4, 0.01, 0.1, 0.4, 0.6, 0.95, 1 - 1e-6])
def test_a_file_that_is_cut_short_is_refused_in_one_line(content, tmp_path, share):
    path = tmp_path / "lid.ftz"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        UsageError, match=re.escape(f"match.lid_model: cannot load {path} as a fastText model: ")
    ) as error:
        LanguageIdentifier(path, {})
    assert "\n" not in str(error.value)


def test_a_file_that_contradicts_itself_is_refused(content, tmp_path):
    path = tmp_path / "lid.ftz"
    dice = random.Random(3)
    refused = 0
    places = [8, 32, 36, 40, 44, 56, 60, 64, 68, 80, 84, *(dice.randrange(88, 150_000) for _ in range(40))]
    for place in places:
        damaged = bytearray(content)
        damaged[place : place + 4] = dice.randbytes(4)
        path.write_bytes(damaged)
        try:
            read_model(path)
        except ValueError:
            refused += 1
    assert refused > 10
