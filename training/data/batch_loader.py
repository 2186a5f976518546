"""The batches of one rank as an object with a state, as torchdata's StatefulDataLoader has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curation.errors import UsageError
from curation.io.storage import Storage
from training.data.epochs.mixture import Mixture
from training.data.loader import load_batches
from training.data.sample_order import DataState
from training.data.shard_dataset import Batch, LoaderConfig, ShardDataset
from training.data.shard_index import ShardIndex
from training.data.tokenizer import Tokenizer


class BatchLoader:
    """Yields the batches of one rank, epoch after epoch, from its state on.

    `state_dict` describes the batch after the last one that was yielded, whatever the workers have loaded ahead.
    Loading a state takes no time. It may come from a run with other numbers of ranks or workers.

    Args:
        index: the samples.
        storage: access to the files.
        tokenizer: encodes the texts.
        config: how the batches are loaded.
        steps: number of batches of one iteration.
        mixture: how the epochs are mixed; by default, each has all samples once.
    """

    def __init__(
        self,
        index: ShardIndex,
        storage: Storage,
        tokenizer: Tokenizer,
        config: LoaderConfig,
        *,
        steps: int,
        mixture: Mixture | None = None,
    ) -> None:
        self._index, self._storage, self._tokenizer, self._config = index, storage, tokenizer, config
        self._steps, self._state, self._mixture = steps, DataState(), mixture or Mixture({})

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Batch]:
        """Yield the next batches.

        Raises InputError if a sample cannot be read, UsageError if an epoch of the mixture has less than one batch.
        """
        if self._mixture.is_plain:
            yield from self._batches(self._index, self._steps)
            return
        remaining, size = self._steps, self._config.batch_size
        while remaining:
            index = self._mixture.epoch(self._index, self._state.epoch)
            if index.samples < size:
                raise UsageError(f"batch_size: {size} is more than the {index.samples} pairs of an epoch: lower it")
            steps = min(remaining, (index.samples - self._state.position) // size)
            yield from self._batches(index, steps)
            remaining -= steps
            if remaining:
                self._state = DataState(self._state.epoch + 1)

    def _batches(self, index: ShardIndex, steps: int) -> Iterator[Batch]:
        size = self._config.batch_size
        dataset = ShardDataset(index, self._storage, self._tokenizer, self._config, start=self._state, steps=steps)
        for batch in load_batches(dataset):
            self._state = self._state.batch_start(size, index.samples).advance(size)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Return the state: the place of the next batch, and what the order of the samples depends on."""
        return {**self._state._asdict(), **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a state. Raises UsageError if it belongs to other samples, another order or batch size."""
        now = self._identity()
        changed = [f"{key} {state.get(key)!r} -> {now[key]!r}" for key in now if state.get(key) != now[key]]
        if changed:
            problem = f"it belongs to another order ({', '.join(changed)})"
            raise UsageError(f"state of the loader: {problem}: use its settings, or start from the beginning")
        self._state = DataState(state["epoch"], state["position"])

    def _identity(self) -> dict[str, Any]:
        order, index = self._config.order._asdict(), self._index
        identity = {"batch_size": self._config.batch_size, "version": index.version, "samples": index.samples}
        mixture = {} if self._mixture.is_plain else {"mixture": [*self._mixture]}
        return {**order, **identity, **mixture}
