"""The samples of every epoch: those of the index, or what an epoch draws and mixes from them."""

from __future__ import annotations

from collections.abc import Collection

from curation.balance.sampling import DrawKey
from curation.errors import UsageError
from curation.io.storage import Storage
from training.data.epochs.draw import draw_epoch
from training.data.epochs.mixture import Mixture
from training.data.shard_index import ShardIndex, TrainValSplit
from training.distributed import World


class EpochSamples:
    """Makes the index of an epoch; it is the same on every rank.

    Args:
        split: the samples of all epochs, and the held-out ones.
        storage: access to the files.
        world: the ranks, which call `index` together.
        mixture: how the epochs are mixed.
        batch_size: pairs per step over all ranks.
        draws: whether every epoch draws its pairs (`draw: online`).
        languages: languages of the pairs that are drawn; None: all.

    Attributes:
        all: the samples of all epochs.
        validation: the held-out samples.
    """

    def __init__(
        self,
        split: TrainValSplit,
        storage: Storage,
        world: World,
        *,
        mixture: Mixture,
        batch_size: int,
        draws: bool = False,
        languages: Collection[str] | None = None,
    ) -> None:
        self.all, self.validation = split
        self._storage, self._world = storage, world
        self._mixture, self._batch_size, self._draws, self._languages = mixture, batch_size, draws, languages
        self._made: tuple[int, ShardIndex] | None = None

    @property
    def differ(self) -> bool:
        """Whether epochs have different samples."""
        return self._draws or not self._mixture.is_plain

    def index(self, epoch: int) -> ShardIndex:
        """Return the samples of an epoch. All ranks must call this together.

        Raises UsageError if they do not fill one batch or a recipe has none, and what `draw_epoch` raises.
        """
        if not self.differ:
            return self.all
        if self._made is None or self._made[0] != epoch:
            self._made = (epoch, self._make(epoch))
        return self._made[1]

    def _make(self, epoch: int) -> ShardIndex:
        drawn = self.all
        if self._draws:
            key = DrawKey(self._mixture.seed, epoch)
            drawn = draw_epoch(
                self.all,
                self._storage,
                key,
                self._world,
                languages=self._languages,
                read_languages=self._mixture.temperature != 1,
            )
        if self._mixture.is_plain:
            samples = drawn
        else:  # on rank 0 only, because powers may be rounded differently on other machines
            samples = self._world.broadcast_from_main(lambda: self._mixture.epoch(drawn, epoch))
        if samples.samples < self._batch_size:
            problem = f"{self._batch_size} is more than the {samples.samples} pairs of epoch {epoch}"
            self._world.fail(UsageError(f"batch_size: {problem}, drawn from {self.all.samples}: lower it"))
        return samples
