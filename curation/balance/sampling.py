"""The seeded choice of one text an image and the draw of its pair: one implementation for the job and the trainer.

Chosen is the matched text with the smallest hash of (seed, image, text), then kept when a second hash, read as u in
[0, 1), is below the text's keep probability. So a new text never reshuffles old choices, and for fixed counts a larger
t only adds pairs. An epoch of online training draws in the same way with purposes of its own and the epoch in the key.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curation.balance.keep_model import KeepProbabilities
from curation.errors import UsageError
from curation.hashing import u64_column, uniform_column
from curation.lake.schemas import IMAGE_COLUMNS, MATCHED_TEXT, SCHEMAS, WEIGHTED_TEXT

SELECTIONS: Final = ("drawn", "all")

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class DrawKey(NamedTuple):
    """What one draw depends on besides image and text: the seed, and the epoch when every epoch draws anew."""

    seed: int
    epoch: int | None = None

    def text_hashes(self, image_ids: pa.Array, texts: pa.Array) -> npt.NDArray[np.uint64]:
        """Return the rank of each text among its image's texts; the smallest is chosen."""
        if self.epoch is None:
            return u64_column(self.seed, "text", image_ids, texts)
        return u64_column(self.seed, "epoch-text", str(self.epoch), image_ids, texts)

    def draws(self, image_ids: pa.Array, texts: pa.Array) -> Floats:
        """Return u in [0, 1) of each pair."""
        if self.epoch is None:
            return uniform_column(u64_column(self.seed, "draw", image_ids, texts))
        return uniform_column(u64_column(self.seed, "epoch-draw", str(self.epoch), image_ids, texts))


def choose(key: DrawKey, image_ids: pa.Array, texts: pa.Array, bounds: Integers) -> Integers:
    """Return, for each image, the place of its chosen text; image i has the texts `bounds[i]:bounds[i + 1]`.

    Every image has a text. An image's only text needs no hash; of equal hashes the first is taken.
    """
    chosen = bounds[:-1].copy()
    lengths = np.diff(bounds)
    several = np.flatnonzero(lengths > 1)
    if not len(several):
        return chosen
    owners = np.repeat(several, lengths[several])
    starts = np.cumsum(lengths[several]) - lengths[several]
    places = np.arange(len(owners)) + np.repeat(bounds[several] - starts, lengths[several])
    hashes = key.text_hashes(image_ids.take(pa.array(owners)), texts.take(pa.array(places)))
    by_image_and_hash = np.lexsort((hashes, owners))  # stable
    chosen[several] = places[by_image_and_hash[starts]]
    return chosen


def kept(key: DrawKey, image_ids: pa.Array, texts: pa.Array, keep: Floats) -> npt.NDArray[np.bool_]:
    """Tell which pairs are kept. A draw below 1 always and below 0 never happens, so certain pairs need no hash."""
    result = keep >= 1
    open_ = np.flatnonzero((keep > 0) & (keep < 1))
    taken = pa.array(open_)
    result[open_] = key.draws(image_ids.take(taken), texts.take(taken)) < keep[open_]
    return result


def draw_texts(key: DrawKey, image_ids: pa.Array, texts: pa.ListArray) -> tuple[npt.NDArray[np.bool_], pa.Array]:
    """Choose a text of each image and draw it; return which images are kept, and every image's chosen text.

    `texts` lists structs with `text` and `keep_probability`, as `curated` and `shards` hold them. ValueError when an
    image has none, or one without a probability.
    """
    lengths = pc.list_value_length(texts).fill_null(0).to_numpy()
    flat = texts.flatten()
    words, keep = flat.field("text"), flat.field("keep_probability")
    if not lengths.all() or keep.null_count:
        raise ValueError("rows without texts to draw from")
    chosen = choose(key, image_ids, words, np.concatenate([[0], np.cumsum(lengths)]))
    taken = words.take(pa.array(chosen))
    return kept(key, image_ids, taken, keep.to_numpy()[chosen]), taken


def choose_and_draw(matches: pa.RecordBatch, model: KeepProbabilities, seed: int, selection: str = "drawn") -> pa.Table:
    """Choose one matched text of each image of a `matches` batch, then draw: the kept pairs as `curated` rows.

    Under the selection `all` every pair is kept. Rows stay in their order; `texts` holds all matched texts of the
    image, each with its keep probability, so that shards alone are enough to draw anew (`draw_texts`). For the books:
    images read = rows returned + not drawn + images without a matched text, of which a `matches` table has none.
    UsageError on an unknown selection.
    """
    if selection not in SELECTIONS:
        raise UsageError(f"balance.selection: unknown value {selection!r}, use one of: {', '.join(SELECTIONS)}")
    texts = pc.list_flatten(matches["texts"])
    matched = pc.greater(pc.list_value_length(pc.struct_field(texts, "entry_ids")), 0)
    texts = texts.filter(matched)
    parents = pc.list_parent_indices(matches["texts"]).filter(matched).to_numpy()
    firsts = np.flatnonzero(np.diff(parents, prepend=-1))  # where the texts of each image begin
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
        mask = kept(key, image_ids, pc.struct_field(pairs, "text"), keep)
        rows, keep, picked = rows[mask], keep[mask], pa.array(mask)
        pairs, lists = pairs.filter(picked), lists.filter(picked)
    images = matches.select([name for name, _ in IMAGE_COLUMNS]).take(pa.array(rows))
    row = {name: images[name] for name, _ in IMAGE_COLUMNS}
    row |= {name: pc.struct_field(pairs, name) for name in ("source", "text", "lang", "entry_ids")}
    row |= {"keep_probability": pa.array(keep), "texts": lists}
    schema = SCHEMAS["curated"]
    return pa.Table.from_arrays([row[field.name].cast(field.type) for field in schema], schema=schema)
