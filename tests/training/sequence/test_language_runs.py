"""Languages are learned one after the other in one run, which continues exactly wherever it was stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from curation.errors import UsageError
from support.language_shards import KEYS, LANGUAGES, publish_languages
from support.ranks import call_on_ranks
from training.config import TrainConfig
from training.data.tokenizer import Tokenizer
from training.distributed import World
from training.engine.checkpoint import TrainingState
from training.optimizers.row_factors import language_factors
from training.sequence.growth import Growth
from training.sequence.recall_matrix import RecallMatrix
from training.train import train

ALONE = World(0, 1, torch.device("cpu"))
ROWS = "text_model.embeddings.token_embedding.weight"


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    return publish_languages(tmp_path_factory.mktemp("languages") / "lake").root


def run(lake: Path, output: Path, **keys) -> dict:
    return train(TrainConfig(**(KEYS | {"lake": str(lake), "output": str(output)} | keys)), ALONE)


@pytest.fixture(scope="module")
def whole(lake, tmp_path_factory) -> Path:
    """The output of three languages that were learned without a stop."""
    output = tmp_path_factory.mktemp("whole") / "out"
    summary = run(lake, output)
    assert summary["languages"] == list(LANGUAGES)
    return output


def tensors(output: Path) -> dict[str, Tensor]:
    """Return all tensors of all checkpoints, also those of optimizers."""
    return {
        f"{file.relative_to(output)} {key}": value
        for file in sorted(output.rglob("*.safetensors"))
        for key, value in load_file(file).items()
    }


def folder(output: Path, number: int, step: int = 4) -> Path:
    return output / f"language-{number + 1:02}" / "checkpoints" / f"step-{step:08}"


def weights(output: Path, number: int, step: int = 4) -> dict[str, Tensor]:
    return load_file(folder(output, number, step) / "model.safetensors")


def assert_equal_outputs(ours: Path, theirs: Path) -> None:
    mine, others = tensors(ours), tensors(theirs)
    assert mine.keys() == others.keys()
    assert [name for name in mine if not torch.equal(mine[name], others[name])] == []
    for name in ("recall.json", "recall.md", "language-02/growth.json"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()


def test_only_token_embeddings_change_from_language_to_language(whole):
    first, *others = (weights(whole, number) for number in range(3))
    for later in others:
        assert [name for name in first if name != ROWS and not torch.equal(first[name], later[name])] == []
        assert len(later[ROWS]) > len(first[ROWS])


def test_rows_of_tokens_that_a_language_does_not_use_keep_their_bits(whole):
    growths = [Growth.read(whole / f"language-{number + 1:02}") for number in range(3)]
    for number in (1, 2):
        before, after = weights(whole, number - 1)[ROWS], weights(whole, number)[ROWS]
        tokenizer = Tokenizer.load(folder(whole, number), 24)
        used = set(growths[number].used_tokens) - set(tokenizer.special_ids)
        changed = (before != after[: len(before)]).any(1).nonzero().flatten().tolist()
        assert set(changed) == {token for token in used if token < len(before)}
        factors = language_factors(
            [growth.used_tokens for growth in growths[: number + 1]],
            rows=len(after),
            original_rows=growths[0].known_tokens,
            special_ids=tokenizer.special_ids,
        )
        assert set(factors.nonzero().flatten().tolist()) == used
        assert len(set(factors.tolist())) > 2, "tokens of one, two and more languages"


def test_the_saved_model_and_tokenizer_open_in_plain_transformers(whole):
    model = AutoModel.from_pretrained(folder(whole, 2))
    saved = weights(whole, 2)
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    assert model.config.text_config.vocab_size == len(saved[ROWS])
    theirs, ours = AutoTokenizer.from_pretrained(folder(whole, 2)), Tokenizer.load(folder(whole, 2), 24)
    texts = ["ένα κόκκινο κουτί", "un cerchio verde", "a red bar"]
    assert theirs(texts, padding="max_length")["input_ids"] == ours(texts).tolist()


def test_scales_start_again_with_every_language(whole):
    for number in range(3):
        heads = load_file(folder(whole, number, step=2) / "heads.safetensors")
        assert heads["scales.info_nce"].exp().item() == pytest.approx(1 / 0.07, rel=0.02)


def test_the_matrix_has_the_recall_of_every_language_after_each(whole, lake, tmp_path):
    matrix = RecallMatrix.read(whole)
    assert matrix.languages == LANGUAGES
    content = json.loads((whole / "recall.json").read_text())
    for way, rows in matrix.recall.items():
        assert [len(row) for row in rows] == [1, 2, 3]
        assert all(0 <= score <= 1 for row in rows for score in row)
        assert content["metrics"][way]["AA"] == pytest.approx(sum(rows[-1]) / 3)
    assert [len(shares) for shares in matrix.changed_texts] == [0, 1, 2]
    assert list(matrix.tokens) == sorted(set(matrix.tokens))
    assert "| el |" in (whole / "recall.md").read_text()
    shutil.copytree(whole, tmp_path / "copy")
    (tmp_path / "copy" / "recall.json").unlink()
    run(lake, tmp_path / "copy", resume=True)
    assert_equal_outputs(tmp_path / "copy", whole)


@pytest.mark.parametrize(("number", "step"), [(0, 2), (0, 4), (1, 2), (1, 4), (2, 2), (2, None)])
def test_a_sequence_continues_bit_for_bit_from_any_checkpoint_of_any_language(whole, lake, tmp_path, number, step):
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    for later in range(number + 1, 3):
        shutil.rmtree(output / f"language-{later + 1:02}")
    if step == 2:
        shutil.rmtree(folder(output, number, 4))
        (folder(output, number, 2).parent / "latest").write_text("step-00000002")
    if step is None:  # killed before the first checkpoint
        shutil.rmtree(folder(output, number).parent)
    matrix = RecallMatrix.read(output).first(number)
    (matrix.write(output) if number else (output / "recall.json").unlink())
    run(lake, output, resume=True)
    assert_equal_outputs(output, whole)


def test_a_learned_sequence_has_nothing_to_do_and_may_get_further_languages(whole, lake, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    assert run(lake, tmp_path / "out", resume=True)["languages"] == list(LANGUAGES)
    two = {"sequence": {"languages": LANGUAGES[:2]}}
    run(lake, tmp_path / "two", **two)
    run(lake, tmp_path / "two", resume=True)
    assert_equal_outputs(tmp_path / "two", whole)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"sequence": {"languages": ["en", "el"]}},
            "has learned en, it, el, but en, el are listed: begin the list",
        ),
        ({"sequence": {"languages": ["it", "en", "el"]}}, "has learned en, it, el, but it, en, el are listed"),
        (
            {"sequence": {"languages": LANGUAGES, "vocab_size": 400}},
            "resume: .* with other settings .sequence",
        ),
        ({"resume": False}, "already contains a run: set resume: true"),
        ({"resume": "elsewhere"}, "resume: a sequence of languages continues in its own output: set resume: true"),
    ],
)
def test_another_sequence_is_refused_in_one_line(whole, lake, keys, line):
    with pytest.raises(UsageError, match=line) as caught:
        run(lake, whole, **{"resume": True, **keys})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("step", [2, 4])
def test_another_version_of_the_table_is_refused_also_in_the_middle_of_a_language(whole, lake, tmp_path, step):
    shutil.copytree(whole, tmp_path / "out")
    (folder(tmp_path / "out", 2).parent / "latest").write_text(f"step-{step:08}")
    with pytest.raises(UsageError, match=r"version: .* was trained on version 1 of the table and cannot continue with"):
        run(lake, tmp_path / "out", resume=True, version=7)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (
            {"sequence": {"languages": ["en", "sw"]}},
            "sequence.languages: sw has 0 pairs to train on",
        ),
        ({"validation_share": 0.001}, "validation_share: no pair of en is held out: raise it, or leave it out"),
        ({"phase": {"train": ["heads.scales.*"]}}, "phase.row_factors: .*token_embedding.weight is not trained"),
    ],
)
def test_a_sequence_that_cannot_be_learned_ends_before_it_starts(lake, tmp_path, keys, line):
    with pytest.raises(UsageError, match=line):
        run(lake, tmp_path / "out", **keys)
    assert not list(tmp_path.rglob("checkpoints"))


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"sequence": {"languages": ["en", "en"]}}, "'en' is listed twice"),
        ({"sequence": {}}, "sequence.languages: is empty, but row_factors count languages"),
        ({"languages": ["en"]}, "languages: in a sequence of languages, it is all"),
        ({"draw": "online"}, "draw: in a sequence of languages, it is published"),
        ({"parallel": "fsdp"}, "parallel: in a sequence of languages, it is ddp"),
        ({"steps": None, "seen_english_pairs": 9}, "seen_english_pairs: in a sequence of languages, it is not set"),
        ({"validation_share": 0}, "validation_share: is 0, but recall after each language needs held-out pairs"),
        ({"output": "s3://bucket/out"}, "output: a sequence of languages needs a folder"),
    ],
)
def test_keys_that_do_not_fit_a_sequence_are_refused(keys, line):
    with pytest.raises(ValueError, match=line):
        TrainConfig(**(KEYS | keys))


def test_a_dry_run_tries_the_next_language_and_writes_nothing(whole, lake, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "language-03")
    before = sorted(tmp_path.rglob("*"))
    config = TrainConfig(**KEYS, lake=str(lake), output=str(tmp_path / "out"), resume=True)
    assert set(train(config, ALONE, dry_run=True)["seen_pairs_by_language"]) == {"el"}
    assert sorted(tmp_path.rglob("*")) == before


def run_on_rank(rank: int, size: int, lake: Path, output: Path, workers: int) -> None:
    keys = {"lake": str(lake), "output": str(output), "sequence": {"languages": LANGUAGES[:2]}, "num_workers": workers}
    train(TrainConfig(**(KEYS | keys)), World(rank, size, torch.device("cpu")))


def losses(output: Path) -> list[float]:
    """Return the losses of all steps of all languages in order."""
    files = sorted(output.glob("language-*/metrics.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_languages_have_the_same_samples_and_tokens_for_any_number_of_ranks_and_workers(whole, lake, tmp_path):
    call_on_ranks(run_on_rank, 2, lake, tmp_path / "out", 1)
    assert len(losses(tmp_path / "out")) == 8
    assert losses(tmp_path / "out") == pytest.approx(losses(whole)[:8], rel=2e-4)
    for name in ("language-01/growth.json", "language-02/growth.json"):
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = (TrainingState.read(folder(output, 1)) for output in (tmp_path / "out", whole))
    assert (ours.progress, ours.samples, ours.seen_pairs_by_language) == (
        theirs.progress,
        theirs.samples,
        theirs.seen_pairs_by_language,
    )
    assert ours.seen_pairs_by_language == {"it": 32}


def test_the_step_mode_keeps_unused_rows_and_moves_shared_ones_less(whole, lake, tmp_path):
    languages = {"sequence": {"languages": LANGUAGES[:2]}}
    run(lake, tmp_path / "out", **languages, phase={"row_factors": ["step", "decay"]})
    growth = Growth.read(tmp_path / "out" / "language-01")
    assert growth == Growth.read(whole / "language-01")
    known, rows = growth.known_tokens, {}
    for output in (tmp_path / "out", whole):
        before, after = (weights(output, number)[ROWS] for number in (0, 1))
        rows[output] = (after[: len(before)] - before).abs().amax(1)
    assert torch.equal(rows[whole] > 0, rows[tmp_path / "out"] > 0)
    shared = (rows[whole] > 0)[:known]
    assert shared.sum() > 5
    assert (rows[tmp_path / "out"][:known][shared] < 0.7 * rows[whole][:known][shared]).all()
