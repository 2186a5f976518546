from __future__ import annotations

import re
from pathlib import Path

import pytest

from curation.errors import UsageError
from training.config import TrainConfig
from training.data.sample_order import DataState
from training.engine import resume
from training.engine.checkpoint import TrainingState
from training.engine.resume import check_changes

PAGE = Path(__file__).parents[3] / "docs" / "training.md"


def saved_with(**keys) -> TrainingState:
    config = TrainConfig(**({"steps": 10} | keys)).model_dump(mode="json")
    return TrainingState(step=5, progress=DataState(), version=3, run_ids=("r",), samples=9, config=config)


def test_every_key_has_one_rule_and_the_page_lists_the_same():
    rules = [resume.REFUSED, resume.REPORTED, resume.FREE]
    assert sorted(key for rule in rules for key in rule) == sorted(TrainConfig.model_fields)
    table = PAGE.read_text(encoding="utf-8").partition("| on resume | keys |")[2].partition("\n\n")[0]
    rows = [tuple(re.findall(r"`(\w+)`", row.split("|")[2])) for row in table.splitlines()[2:]]
    assert rows == rules


@pytest.mark.parametrize(
    ("key", "before", "after", "shown"),
    [
        ("lr", 1e-3, 1e-4, "lr 0.001 -> 0.0001"),
        ("weight_decay", 0.1, 0.2, "weight_decay 0.1 -> 0.2"),
        ("betas", (0.9, 0.95), (0.9, 0.98), "betas [0.9, 0.95] -> [0.9, 0.98]"),
        ("max_grad_norm", None, 1.0, "max_grad_norm None -> 1.0"),
        ("precision", "fp32", "bf16", "precision 'fp32' -> 'bf16'"),
        ("warmup_steps", 2, 3, "warmup_steps 2 -> 3"),
        ("steps", 10, 20, "steps 10 -> 20, warmup_steps 1 -> 2"),
    ],
)
def test_a_change_of_the_later_updates_is_reported_with_both_values(caplog, key, before, after, shown):
    check_changes(TrainConfig(**({"steps": 10} | {key: after})), Path("c"), saved_with(**{key: before}))
    assert caplog.messages == [f"settings that change from step 5 on: {shown}"]


@pytest.mark.parametrize(
    ("key", "after"),
    [("tokenizer", "/t.json"), ("vocab_size", 400), ("seed", 1), ("batch_size", 2), ("batches", ["b"])],
)
def test_a_change_of_order_or_weights_is_refused_with_both_values(key, after):
    before = TrainConfig.model_fields[key].default
    with pytest.raises(UsageError, match=re.escape(f"({key} {before!r} -> {after!r}): start a new run")):
        check_changes(TrainConfig(steps=10, **{key: after}), Path("c"), saved_with())


def test_equal_settings_are_not_reported(caplog):
    check_changes(TrainConfig(seen_pairs=10 * 256), Path("c"), saved_with(steps=10, betas=(0.9, 0.95)))
    check_changes(TrainConfig(steps=10, num_workers=3, log_every=1, output="/elsewhere"), Path("c"), saved_with())
    assert caplog.messages == []


def test_a_key_that_the_saved_run_did_not_know_had_its_default(caplog):
    state = saved_with()
    del state.config["max_grad_norm"], state.config["vocab_size"]
    check_changes(TrainConfig(steps=10, max_grad_norm=2.0), Path("c"), state)
    assert caplog.messages == ["settings that change from step 5 on: max_grad_norm None -> 2.0"]


def test_a_run_saved_before_a_section_of_keys_existed_had_its_defaults(caplog):
    state = saved_with()
    for key in ("phase", "loss", "group", "start", "context_length", "eps"):
        del state.config[key]
    check_changes(TrainConfig(steps=10), Path("c"), state)
    assert caplog.messages == []
    with pytest.raises(UsageError, match="loss"):
        check_changes(TrainConfig(steps=10, loss="sigmoid"), Path("c"), state)


def test_a_run_saved_before_a_key_of_a_section_existed_had_its_default(caplog):
    state = saved_with()
    for key in ("optimizer", "schedule", "adaptive_clip"):
        del state.config["phase"][key]
    check_changes(TrainConfig(steps=10), Path("c"), state)
    assert caplog.messages == []
    with pytest.raises(UsageError, match="adabelief"):
        check_changes(TrainConfig(steps=10, phase={"optimizer": "adabelief"}), Path("c"), state)


def test_a_run_saved_before_losses_were_terms_has_the_same_loss(caplog):
    state = saved_with(loss="sigmoid")
    state.config["loss"] = {"kind": "sigmoid", "bias": -10.0}
    check_changes(TrainConfig(steps=10, loss="sigmoid"), Path("c"), state)
    assert caplog.messages == []


def test_a_weight_of_a_source_that_is_left_out_is_a_change(caplog):
    one, both = {"sources": {"matched": 1}}, {"sources": {"matched": 1, "published": 1}}
    check_changes(TrainConfig(steps=10, text=both), Path("c"), saved_with(text=one))
    assert [message.partition(" {")[0] for message in caplog.messages] == ["settings that change from step 5 on: text"]
