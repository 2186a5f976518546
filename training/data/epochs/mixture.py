"""Mix recipes by weights and languages by a temperature: pairs are left out of an epoch, or repeated in it.

An epoch has about as many pairs as the index. Each pair has a number of occurrences per epoch, f, which is equal for
all pairs of a recipe and language:

1. Recipe r with weight w_r and n_r pairs gives each of them w_r / n_r; the weights add up to 1. Language l then has the
   share p_l.
2. With temperature T, language l has the share q_l, proportional to p_l^(1/T) (arXiv 1911.02116, eq. 1, α = 1/T): its
   pairs are multiplied by q_l / p_l.
3. f is the product times the number of all pairs, at most `max_repeats`.

A pair with the number u in [0, 1) occurs floor((e + 1) f + u) - floor(e f + u) times in epoch e: f times, rounded up or
down. In any E epochs in a row it occurs E·f times, rounded up or down: no pair is repeated while another of the same
recipe and language waits. With `draw: online`, f differs between epochs, and this holds only nearly. u is a hash of the
seed and the place of the row, so an epoch depends on no earlier one.

Repeated pairs are row groups of their own in the index of the epoch: the first one of a row group has all pairs that
occur at least once, the second one those that occur at least twice. The order of the samples, and all that follows from
it, therefore stays the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curation.errors import UsageError
from curation.hashing import u64
from training.data.shard_index import ShardIndex

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Mixture(NamedTuple):
    """How an epoch is mixed.

    Attributes:
        weights: shares of the recipes; without any, each has the share of its pairs.
        temperature: T of the languages; 1 keeps their shares.
        max_repeats: most times that a pair occurs in an epoch, rounded up.
        seed: seed of the choice of pairs.
    """

    weights: Mapping[str, float]
    temperature: float = 1.0
    max_repeats: int = 10
    seed: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether every epoch has each pair once."""
        return not self.weights and self.temperature == 1

    def epoch(self, index: ShardIndex, epoch: int) -> ShardIndex:
        """Return the index of an epoch. Raises UsageError if a recipe has no pairs."""
        if self.is_plain:
            return index
        names, recipes = np.unique(index.recipes, return_inverse=True)
        of_group = recipes[index.group_file]  # the number of its recipe
        factors = self._factors(names.tolist(), count_pairs(index, of_group))
        copies = [
            (group, mask)
            for group in np.flatnonzero(index.counts).tolist()
            for mask in self._copies(index, group, epoch, factors[of_group[group]])
        ]
        groups = np.array([group for group, _ in copies], np.int64)
        mixed = replace(
            index,
            group_file=index.group_file[groups],
            group_number=index.group_number[groups],
            group_rows=index.group_rows[groups],
            counts=np.array([mask.sum() for _, mask in copies], np.int64),
            bits=np.concatenate([np.empty(0, np.uint8), *(np.packbits(mask) for _, mask in copies)]),
            languages=None,
        )
        is_first = np.diff(groups, prepend=-1) > 0
        log.info(
            "epoch %d: %d pairs, mixed from %d; %d of them are repeated; row groups are read %.2f times",
            epoch,
            mixed.samples,
            index.samples,
            mixed.counts[~is_first].sum(),
            len(groups) / max(1, is_first.sum()),
        )
        return mixed

    def _copies(self, index: ShardIndex, group: int, epoch: int, factors: Floats) -> Iterator[npt.NDArray[np.bool_]]:
        """Yield which rows of a row group occur in an epoch at least once, at least twice, and so on."""
        per_epoch = factors[index.language_codes(group)]
        draws = np.random.PCG64(u64(self.seed, "repeat", str(group))).random_raw(len(per_epoch))
        start = (draws >> np.uint64(11)) / 2.0**53
        times = np.floor((epoch + 1) * per_epoch + start) - np.floor(epoch * per_epoch + start)
        times[~index.mask(group)] = 0
        for number in range(int(times.max(initial=0))):
            yield times > number

    def _factors(self, names: Sequence[str], counts: Integers) -> Floats:
        """Return f of each recipe and language, given their numbers of pairs."""
        of_recipe = counts.sum(1, keepdims=True)
        if self.weights:
            weights = np.array([[self.weights[name]] for name in names])
            empty = [name for name, count in zip(names, of_recipe[:, 0].tolist(), strict=True) if not count]
            if empty:
                problem = f"{', '.join(empty)} has no pairs to train on"
                raise UsageError(f"recipe: {problem}: remove it, or choose other languages")
        else:
            weights = of_recipe
        of_pair = weights / weights.sum() / np.maximum(of_recipe, 1)
        before = (counts * of_pair).sum(0)  # shares of the languages
        after = before ** (1 / self.temperature)
        scale = np.divide(after / after.sum(), before, out=np.zeros_like(before), where=before > 0)
        factors: Floats = np.minimum(of_pair * scale * counts.sum(), self.max_repeats)
        return factors


def count_pairs(index: ShardIndex, recipes: Integers) -> Integers:
    """Return the number of samples of each recipe and language, given the number of the recipe of each row group."""
    num_languages = len(index.languages.names) if index.languages else 1
    counts = np.zeros((len(set(index.recipes)), num_languages), np.int64)
    for group in np.flatnonzero(index.counts).tolist():
        codes = index.language_codes(group)[index.mask(group)]
        counts[recipes[group]] += np.bincount(codes, minlength=num_languages)
    return counts
