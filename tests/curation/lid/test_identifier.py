from __future__ import annotations

import hashlib
import re

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import models
from curation.errors import UsageError
from curation.lid import identifier as identifier_module
from curation.lid.fasttext_file import read_model
from curation.lid.identifier import LanguageIdentifier, cached, model_sha256


@pytest.fixture(scope="module")
def model():
    """Return the default model; `make test` fetches it first (`make models`)."""
    try:
        return models.default_model_path()
    except UsageError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def labels(model):
    found = fasttext.load_model(str(model)).get_labels()
    return {label.removeprefix("__label__"): label.removeprefix("__label__") for label in found}


@pytest.fixture(scope="module")
def identifier(model, labels):
    return LanguageIdentifier(model, labels)


SENTENCES = {
    "en": "The quick brown fox jumps over the lazy dog near the river.",
    "de": "Der schnelle braune Fuchs springt über den faulen Hund.",
    "ja": "素早い茶色の狐がのろまな犬を飛び越える。",
    "ru": "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "th": "สุนัขจิ้งจอกสีน้ำตาลกระโดดข้ามสุนัขขี้เกียจ",
}


def test_languages_are_those_of_the_mapping(model, labels):
    mapping = labels | {"de": "deutsch", "ja": "other"}
    langs, scores = LanguageIdentifier(model, mapping).identify(list(SENTENCES.values()))
    assert langs == ["en", "deutsch", "other", "ru", "th"]
    assert all(0.8 < score <= 1 for score in scores)


def test_most_real_sentences_are_identified_correctly(identifier, fixtures_dir):
    tatoeba = fixtures_dir / "laser-tatoeba" / "data" / "tatoeba" / "v1"
    for code, lang in {"deu": "de", "jpn": "ja", "rus": "ru", "heb": "he", "kor": "ko"}.items():
        lines = (tatoeba / f"tatoeba.{code}-eng.{code}").read_text(encoding="utf-8").splitlines()
        langs, _ = identifier.identify(lines)
        assert langs.count(lang) > 0.9 * len(lines)


@pytest.mark.parametrize("text", ["", " ", "\n", "\0", "\t\u3000"])
def test_a_text_without_anything_in_it_is_other_with_score_zero(identifier, text):
    assert identifier.identify([SENTENCES["de"], text])[0] == ["de", "other"]
    assert identifier.identify([text])[1] == [0.0]


def test_no_texts_give_no_answers(identifier):
    assert identifier.identify([]) == ([], [])


def test_line_feeds_and_nuls_are_spaces(identifier):
    plain = identifier.identify(["ein kleiner Hund"])
    assert identifier.identify(["ein\nkleiner\0Hund"]) == plain


def test_lone_surrogates_are_question_marks(identifier):
    assert identifier.identify(["ein kleiner Hund\ud800"]) == identifier.identify(["ein kleiner Hund?"])


@settings(max_examples=200, deadline=None)  # compiled at the first call
@given(texts=st.lists(st.text(st.characters() | st.sampled_from("\n\0 ")), max_size=5))
def test_any_text_gets_a_known_language_and_a_score_up_to_one(identifier, labels, texts):
    langs, scores = identifier.identify(texts)
    assert len(langs) == len(scores) == len(texts)
    assert set(langs) <= {*labels, "other"}
    assert all(0 <= score <= 1 for score in scores)


def test_answers_do_not_depend_on_the_batch(identifier):
    texts = [*SENTENCES.values(), "", "ok"]
    one_by_one = [identifier.identify([text]) for text in texts]
    langs, scores = identifier.identify(texts)
    assert list(zip(langs, scores, strict=True)) == [(lang, score) for [lang], [score] in one_by_one]


def test_scores_above_one_are_one(model, labels, monkeypatch):
    fake = FakeModel(labels, ["en", "de"], [1.00004, 0.25])
    monkeypatch.setattr(identifier_module, "_load", lambda *_: fake)
    assert LanguageIdentifier(model, labels).identify(["a", "b"]) == (["en", "de"], [1.0, 0.25])


def test_a_text_the_model_knows_nothing_about_is_other(model, labels, monkeypatch):
    monkeypatch.setattr(identifier_module, "_load", lambda *_: FakeModel(labels, [None], [0.5]))
    assert LanguageIdentifier(model, labels).identify(["?"]) == (["other"], [0.0])


class FakeModel:
    """Gives answers that the real model gives too rarely."""

    def __init__(self, labels, answers, scores):
        self.labels = [f"__label__{label}" for label in labels]
        self.numbers = np.array([-1 if answer is None else list(labels).index(answer) for answer in answers], np.int32)
        self.scores = np.array(scores, np.float32)

    def predict(self, column):
        return self.numbers, self.scores


def test_every_character_of_white_space_leaves_a_text_empty(identifier):
    spaces = [char for char in map(chr, range(0x110000)) if char.isspace()]
    langs, scores = identifier.identify([*spaces, "".join(spaces), "\0" + spaces[-1]])
    assert set(langs) == {"other"}
    assert set(scores) == {0.0}
    assert "other" not in identifier.identify([f"{char}ein kleiner Hund" for char in spaces])[0]


def test_a_column_gives_what_a_list_gives(identifier):
    texts = [*SENTENCES.values(), "", "ok"]
    langs, scores = identifier.identify_column(pa.array(["left out", *texts])[1:])
    assert (langs.to_pylist(), scores.to_pylist()) == identifier.identify(texts)
    assert (langs.type, scores.type) == (pa.string(), pa.float32())


def test_candidates_start_with_the_answer(identifier):
    for text in SENTENCES.values():
        [lang], [score] = identifier.identify([text])
        label, key, sure = identifier.candidates(text)[0]
        assert (label, key) == (lang, lang)
        assert sure == pytest.approx(score, abs=1e-5)


def test_an_uncertain_text_is_other_and_keeps_its_score(model, labels, identifier):
    texts = [SENTENCES["de"], "ok"]
    [_, low] = identifier.identify(texts)[1]
    assert low < 0.9
    langs, scores = LanguageIdentifier(model, labels, min_score=0.9).identify(texts)
    assert langs == ["de", "other"]
    assert scores[1] == low
    assert LanguageIdentifier(model, labels, min_score=low).identify(texts)[0][1] != "other"  # at the limit: kept


def test_labels_missing_from_the_mapping_are_listed_at_construction(model, labels):
    some = {label: lang for label, lang in labels.items() if label not in ("yue", "lrc")}
    with pytest.raises(UsageError, match=r"match\.lid_model: .* labels without a language \(2\): lrc, yue; map"):
        LanguageIdentifier(model, some)
    with pytest.raises(UsageError, match=r"labels without a language \(176\): af, als, am, an, ar, …; map"):
        LanguageIdentifier(model, {})
    LanguageIdentifier(model, labels | {"more": "than needed"})


@pytest.mark.parametrize("content", [b"", b"not a model at all, by any means", None])
def test_a_file_that_is_not_a_model_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "lid.bin"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        UsageError, match=re.escape(f"match.lid_model: cannot load {path} as a fastText model")
    ) as error:
        LanguageIdentifier(path, {})
    assert "\n" not in str(error.value)


def test_a_model_of_word_vectors_is_refused(tmp_path):
    (tmp_path / "text").write_text("a few words to learn\n" * 50)
    vectors = fasttext.train_unsupervised(
        str(tmp_path / "text"), minCount=1, dim=4, epoch=1, bucket=100, thread=1, verbose=0
    )
    vectors.save_model(str(tmp_path / "vectors.bin"))
    with pytest.raises(UsageError, match="is not a supervised fastText model: no label starts with __label__"):
        LanguageIdentifier(tmp_path / "vectors.bin", {})


def test_a_process_loads_a_model_once(model, labels, monkeypatch):
    loads = []
    monkeypatch.setattr(identifier_module, "read_model", lambda path: loads.append(path) or read_model(path))
    identifier_module._load.cache_clear()
    identifier_module._cached.cache_clear()
    first = cached(str(model), labels, 0.5)
    assert cached(model, dict(reversed(labels.items())), 0.5) is first
    assert cached(model, labels, 0.6) is not first
    LanguageIdentifier(model, labels)
    assert loads == [model]


def test_a_model_that_replaces_another_at_its_path_is_loaded(model, labels, monkeypatch, tmp_path):
    loads = []
    monkeypatch.setattr(identifier_module, "read_model", lambda path: loads.append(path) or read_model(path))
    path = tmp_path / "model.ftz"
    for _ in range(2):
        (tmp_path / "new").write_bytes(model.read_bytes())
        (tmp_path / "new").replace(path)
        cached(path, labels)
    assert loads == [path, path]


def test_loading_prints_nothing(model, labels, capfd):
    identifier_module._load.cache_clear()
    LanguageIdentifier(model, labels)
    assert capfd.readouterr() == ("", "")


def test_digest_is_the_sha256_of_the_file(tmp_path):
    (tmp_path / "m").write_bytes(b"model")
    assert model_sha256(tmp_path / "m") == hashlib.sha256(b"model").hexdigest()
    with pytest.raises(UsageError, match=r"match\.lid_model: cannot read .*absent: No such file"):
        model_sha256(tmp_path / "absent")
