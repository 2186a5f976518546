"""Choose one text per image and sample the pairs, by seed: one implementation for the balance job and the trainer.

The chosen text of an image is the matched text with the smallest hash of (seed, image, text). The pair is kept if a
second hash, read as u in [0, 1), is below the text's keep probability. So a new text never changes the choice among the
old ones, and for fixed counts a larger t only adds pairs. With per-epoch sampling the trainer draws in the same way in
every epoch; the hashes then have other purposes, and the epoch is part of their key.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.balance.keep_model import KeepProbabilities
from curation.errors import UsageError
from curation.hashing import uniform_column
from curation.lake.schemas import IMAGE_COLUMNS, MATCHED_TEXT, SCHEMAS, WEIGHTED_TEXT

SELECTIONS: Final = ("drawn", "all")

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def _hashes(seed: int, purpose: str, *keys: str | pa.Array) -> npt.NDArray[np.uint64]:
    from curation.jit.hash_columns import u64_column  # numba, which loader workers without per-epoch draws never need

    return u64_column(seed, purpose, *keys)


class DrawKey(NamedTuple):
    """The part of a draw's key besides image and text: the seed, and the epoch if every epoch is sampled again."""

    seed: int
    epoch: int | None = None

    def text_hashes(self, image_ids: pa.Array, texts: pa.Array) -> npt.NDArray[np.uint64]:
        """Return the hash of each text; the text with the smallest hash of an image is chosen."""
        if self.epoch is None:
            return _hashes(self.seed, "text", image_ids, texts)
        return _hashes(self.seed, "epoch-text", str(self.epoch), image_ids, texts)

    def draws(self, image_ids: pa.Array, texts: pa.Array) -> Floats:
        """Return the number u in [0, 1) of each pair."""
        if self.epoch is None:
            return uniform_column(_hashes(self.seed, "draw", image_ids, texts))
        return uniform_column(_hashes(self.seed, "epoch-draw", str(self.epoch), image_ids, texts))


def choose(key: DrawKey, image_ids: pa.Array, texts: pa.Array, bounds: Integers) -> Integers:
    """Return the index of each image's chosen text; image i has the texts `bounds[i]:bounds[i + 1]`, at least one.

    Hashes are computed only for images with several texts. If hashes are equal, the first text is chosen.
    """
    chosen = bounds[:-1].copy()
    lengths = np.diff(bounds)
    several = np.flatnonzero(lengths > 1)
    if not len(several):
        return chosen
    owners = np.repeat(several, lengths[several])
    starts = np.cumsum(lengths[several]) - lengths[several]
    indices = np.arange(len(owners)) + np.repeat(bounds[several] - starts, lengths[several])
    hashes = key.text_hashes(image_ids.take(pa.array(owners)), texts.take(pa.array(indices)))
    by_image_and_hash = np.lexsort((hashes, owners))  # stable
    chosen[several] = indices[by_image_and_hash[starts]]
    return chosen


def keep_mask(key: DrawKey, image_ids: pa.Array, texts: pa.Array, keep: Floats) -> npt.NDArray[np.bool_]:
    """Return which pairs are kept, given their keep probabilities. Probabilities of 0 and 1 need no hash."""
    result = keep >= 1
    uncertain = np.flatnonzero((keep > 0) & (keep < 1))
    taken = pa.array(uncertain)
    result[uncertain] = key.draws(image_ids.take(taken), texts.take(taken)) < keep[uncertain]
    return result


def held_out_mask(image_ids: pa.Array, share: float) -> npt.NDArray[np.bool_]:
    """Return which images belong to the validation split of this share; a larger share only adds images.

    The hash depends only on the image_id, so every run holds out the same images, whatever its seed.
    """
    return uniform_column(_hashes(0, "validation", image_ids)) < share


class DrawnTexts(NamedTuple):
    """Which images are kept, and the chosen text of every image with its language."""

    kept: npt.NDArray[np.bool_]
    texts: pa.Array
    languages: pa.Array


def draw_texts(key: DrawKey, image_ids: pa.Array, texts: pa.ListArray) -> DrawnTexts:
    """Choose a text of each image and draw it.

    `texts` has lists of structs with `text`, `lang` and `keep_probability`, as in `curated` and `shards`. Raises
    ValueError if an image has no text, or a text has no probability.
    """
    lengths = pc.list_value_length(texts).fill_null(0).to_numpy()
    flat = texts.flatten()
    strings, keep = flat.field("text"), flat.field("keep_probability")
    if not lengths.all() or keep.null_count:
        raise ValueError("rows without texts to draw from")
    chosen = choose(key, image_ids, strings, np.concatenate([[0], np.cumsum(lengths)]))
    taken = strings.take(pa.array(chosen))
    kept = keep_mask(key, image_ids, taken, keep.to_numpy()[chosen])
    return DrawnTexts(kept, taken, flat.field("lang").take(pa.array(chosen)))


def choose_and_draw(matches: pa.RecordBatch, model: KeepProbabilities, seed: int, selection: str = "drawn") -> pa.Table:
    """Choose one matched text per image of a `matches` batch, draw it, and return the kept pairs as `curated` rows.

    Under the selection `all` every pair is kept. Rows keep their order. The column `texts` has all matched texts of the
    image with their keep probabilities, so that shards alone are enough to sample again (`draw_texts`). The counters
    add up: images read = rows returned + not drawn + images without a matched text (a `matches` table has none).
    Raises UsageError on an unknown selection.
    """
    if selection not in SELECTIONS:
        raise UsageError(f"balance.selection: unknown value {selection!r}, use one of: {', '.join(SELECTIONS)}")
    texts = pc.list_flatten(matches["texts"])
    matched = pc.greater(pc.list_value_length(pc.struct_field(texts, "entry_ids")), 0)
    texts = texts.filter(matched)
    parents = pc.list_parent_indices(matches["texts"]).filter(matched).to_numpy()
    firsts = np.flatnonzero(np.diff(parents, prepend=-1))  # index of each image's first text
    bounds = np.append(firsts, len(parents))
    rows = parents[firsts]
    image_ids = matches["image_id"].take(pa.array(rows))

    key = DrawKey(seed)
    chosen = choose(key, image_ids, pc.struct_field(texts, "text"), bounds)
    pairs = texts.take(pa.array(chosen))
    weights = model.keep(pc.struct_field(texts, "lang"), pc.struct_field(texts, "entry_ids"))
    keep = weights[chosen]
    columns = [*(pc.struct_field(texts, field.name) for field in MATCHED_TEXT), pa.array(weights)]
    weighted = pa.StructArray.from_arrays(columns, fields=list(WEIGHTED_TEXT))
    lists = pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), weighted)
    if selection == "drawn":
        mask = keep_mask(key, image_ids, pc.struct_field(pairs, "text"), keep)
        rows, keep, picked = rows[mask], keep[mask], pa.array(mask)
        pairs, lists = pairs.filter(picked), lists.filter(picked)
    images = matches.select([name for name, _ in IMAGE_COLUMNS]).take(pa.array(rows))
    row = {name: images[name] for name, _ in IMAGE_COLUMNS}
    row |= {name: pc.struct_field(pairs, name) for name in ("source", "text", "lang", "entry_ids")}
    row |= {"keep_probability": pa.array(keep), "texts": lists}
    schema = SCHEMAS["curated"]
    return pa.Table.from_arrays([row[field.name].cast(field.type) for field in schema], schema=schema)
