"""Texts of a language model depend on their row, seed and prompt alone, and are sampled by the published rule."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.annotations.load import load_maker
from curation.cli.annotate_config import AnnotateSection
from curation.errors import UsageError
from curation.hashing import u64, uniform
from jobs.tasks.models import rewriter
from jobs.tasks.models.rewriter import EXAMPLES, Rewriter, draw_examples, first_line, make_prompt
from jobs.tasks.models.sampling import SeededSampling
from support.model_folders import save_causal

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["a red dog", "ein Hund", "犬", "", "a much longer text about a dog and a cat"]
KEYS = {"max_tokens": 12, "temperature": 0.9, "top_p": 0.95, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_causal(tmp_path_factory.mktemp("causal"))


def rows(texts=TEXTS) -> pa.Table:
    return pa.Table.from_pylist([{"text": text, "texts": [{"text": "other"}, {"text": text}]} for text in texts])


def write_slowly(folder, prompt: str, seed: int) -> str:
    """Sample one token at a time, without a cache or other prompts, with numpy."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(prompt)["input_ids"]
    start = len(ids)
    while len(ids) - start < KEYS["max_tokens"]:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].double().numpy() / KEYS["temperature"]
        chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        order = np.argsort(-chances, kind="stable")
        nucleus = []
        for token in order:
            if sum(chances[each] for each in nucleus) >= KEYS["top_p"]:
                break
            nucleus.append(token)
        left = uniform(u64(seed, "token", str(len(ids) - start))) * sum(chances[each] for each in nucleus)
        for token in nucleus:
            left -= chances[token]
            if left < 0:
                break
        ids.append(int(token))
        if token == tokenizer.eos_token_id or "\n" in tokenizer.decode([int(token)]):
            break
    return first_line(tokenizer.decode(ids[start:], skip_special_tokens=True))


def test_a_rewrite_is_what_the_model_writes_after_the_examples(folder):
    made = Rewriter(folder, **KEYS)(rows(), 3)
    for text, texts in zip(TEXTS, made, strict=True):
        seed = u64(3, "rewrite", "examples", text)
        expected = write_slowly(folder, make_prompt(text, draw_examples(EXAMPLES, seed)), seed)
        assert [each["text"] for each in texts] == ([expected] if expected not in ("", text) else [])
        assert all((each["style"], each["of"]) == ("examples", 1) for each in texts)
    assert sum(map(len, made)) > 2


def test_a_rewrite_does_not_depend_on_the_other_rows(folder, monkeypatch):
    maker = Rewriter(folder, **KEYS, examples={"a": EXAMPLES[:4], "b": EXAMPLES[4:]})
    together = maker(rows(), 3)
    monkeypatch.setattr(rewriter, "BATCH", 2)
    assert [maker(rows([text]), 3)[0] for text in TEXTS] == together == maker(rows(), 3)
    assert maker(rows(), 4) != together
    assert {each["style"] for texts in together for each in texts} == {"a", "b"}


@given(
    st.lists(st.floats(-8, 8), min_size=2, max_size=6),
    st.integers(0, 2**63),
    st.sampled_from([0.2, 1.0, 3.0]),
    st.sampled_from([0.1, 0.6, 1.0]),
)
def test_only_tokens_of_the_nucleus_are_chosen(logits, seed, temperature, top_p):
    sampling = SeededSampling([seed], temperature=temperature, top_p=top_p, prompt_length=1)
    scores = sampling(torch.zeros(1, 1, dtype=torch.int64), torch.tensor([logits]))
    assert (scores[0] == 0).sum() == 1
    assert torch.isneginf(scores[0]).sum() == len(logits) - 1
    chances = np.exp(np.array(logits, np.float32).astype(float) / temperature)
    chances /= chances.sum()
    chosen = int(scores[0].argmax())
    assert chances[chances > chances[chosen]].sum() < top_p + 1e-9


def test_tokens_are_chosen_as_often_as_they_are_likely():
    chances, count = np.array([0.5, 0.3, 0.2]), 4000
    seeds = [u64(0, "test", str(number)) for number in range(count)]
    sampling = SeededSampling(seeds, temperature=1.0, top_p=1.0, prompt_length=1)
    logits = torch.tensor(np.log(chances)).repeat(count, 1)
    chosen = sampling(torch.zeros(count, 1, dtype=torch.int64), logits).argmax(-1).numpy()
    shares = np.bincount(chosen, minlength=3) / count
    assert (abs(shares - chances) < 4 * np.sqrt(chances * (1 - chances) / count)).all()


def test_three_different_examples_are_drawn_anew_for_each_text():
    drawn = [tuple(draw_examples(EXAMPLES, seed)) for seed in range(50)]
    assert all(len(set(each)) == 3 for each in drawn)
    assert len(set(drawn)) > 30
    assert {example for each in drawn for example in each} == set(EXAMPLES)


def test_parameters_that_cannot_be_used_are_refused_before_anything_starts(folder, tmp_path):
    def refused(problem, **keys):
        section = AnnotateSection(makers={"rewrites": {"maker": "jobs.tasks.models.rewriter:Rewriter", **keys}})
        with pytest.raises(UsageError, match=problem):
            load_maker(section, "rewrites")

    refused(r"annotate\.makers: .* has no config\.json of a model", model=str(tmp_path))
    refused(
        r"refuses its parameters \(ValueError: examples must have at least 3",
        model=folder,
        examples={"a": [["b", "c"]]},
    )
    refused(r"refuses its parameters \(ValueError: max_tokens", model=folder, top_p=0)
