"""Filters get batches, in order; whatever one does, it costs at most the images that it fails for."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.images.codec.pixels import Pixels
from curation.images.filters import apply
from curation.images.filters.apply import Decision, FilterRun
from curation.images.filters.base import Verdict


class Keep:
    """Keeps images by a function of their first pixel; records the batches that it gets."""

    version, score_range, reads_texts = "1", (0.0, 255.0), True

    def __init__(self, name, verdict):
        self.name, self._verdict, self.batches = name, verdict, []

    def __call__(self, images):
        self.batches.append([image.image_id for image in images])
        return [self._verdict(int(image.pixels[0, 0, 0])) for image in images]


def shade(value, side=1):
    return Pixels(side, side, bytes([value]) * (3 * side * side))


def decide(filters, values):
    """Return the decisions about images of these shades, in order."""
    run, decisions = FilterRun(filters, {str(n): f"text {n}" for n in range(len(values))}), {}
    for position, value in enumerate(values):
        decisions |= run.add(position, str(position), shade(value))
    decisions |= run.finish()
    assert list(decisions) == list(range(len(values)))
    return list(decisions.values())


@given(st.lists(st.integers(0, 255), max_size=200), st.integers(0, 255), st.integers(0, 255))
def test_filters_apply_in_order_and_only_to_images_that_are_kept(values, first, second):
    filters = [
        Keep("dark", lambda value: Verdict(value >= first, value)),
        Keep("bright", lambda value: Verdict(value <= second, -value)),
    ]
    expected = []
    for value in values:
        if value < first:
            expected.append(Decision("dark", {"dark": value}))
        else:
            expected.append(Decision(None if value <= second else "bright", {"dark": value, "bright": -value}))
    assert decide(filters, values) == expected
    batches = filters[0].batches
    assert [image_id for batch in batches for image_id in batch] == [str(n) for n in range(len(values))]
    assert all(len(batch) == apply.BATCH_IMAGES for batch in batches[:-1])


def test_large_images_make_smaller_batches(monkeypatch):
    monkeypatch.setattr(apply, "BATCH_BYTES", 3 * 10 * 10 * 4)
    run = FilterRun([only := Keep("all", lambda _: Verdict(keep=True))], dict.fromkeys("0123456789", ""))
    for position in range(10):
        run.add(position, str(position), shade(0, 10))
    run.finish()
    assert [len(batch) for batch in only.batches] == [4, 4, 2]


def test_a_filter_gets_the_text_and_the_pixels_of_each_image():
    seen = []

    class Look(Keep):
        def __call__(self, images):
            seen.extend(images)
            return super().__call__(images)

    decide([Look("look", lambda _: Verdict(keep=True))], [7])
    [image] = seen
    assert (image.image_id, image.text, image.pixels.tolist()) == ("0", "text 0", [[[7, 7, 7]]])
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1


def raises(value):
    if value == 13:
        raise np.linalg.LinAlgError("no")
    return Verdict(keep=True, score=1)


@pytest.mark.parametrize(
    "answer",
    [
        raises,
        lambda value: None if value == 13 else Verdict(keep=True, score=1),
        lambda value: Verdict(keep=True, score=math.nan if value == 13 else 1),
        lambda value: Verdict(value != 13, 1, "another_reason" if value == 13 else ""),
        lambda value: Verdict(value != 13, 1, "odd Reason" if value == 13 else ""),
    ],
)
def test_a_failure_costs_the_images_that_it_happens_for_and_is_logged_once(answer, caplog):
    values = [13 if n in (3, 70, 71) else n for n in range(100) if n != 13]
    with caplog.at_level(logging.WARNING):
        decisions = decide([Keep("odd", answer), Keep("next", lambda _: Verdict(keep=True))], values)
    failed = [value for value, decision in zip(values, decisions, strict=True) if decision.reason == "filter_failed"]
    assert failed == [13, 13, 13]
    assert {decision.reason for decision in decisions} == {"filter_failed", None}
    [line] = caplog.messages
    assert line.startswith("images.filters: odd failed for an image: ")


def test_too_few_verdicts_are_no_answer():
    class Short(Keep):
        def __call__(self, images):
            return super().__call__(images)[1:]

    assert {decision.reason for decision in decide([Short("short", lambda _: Verdict(keep=True))], [1, 2, 3])} == {
        "filter_failed"
    }


def test_a_filter_may_have_several_reasons():
    verdicts = {1: Verdict(keep=False), 2: Verdict(keep=False, reason="kind"), 3: Verdict(False, 2, "kind_of_two")}
    reasons = [decision.reason for decision in decide([Keep("kind", verdicts.get)], [1, 2, 3])]
    assert reasons == ["kind", "kind", "kind_of_two"]
