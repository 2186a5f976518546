"""The batches of a run, epoch after epoch, from its data state on."""

from __future__ import annotations

from collections.abc import Iterator

from training.config import TrainConfig
from training.data.epochs.samples import EpochSamples
from training.data.loader import load_batches
from training.data.sample_order import DataState, SampleOrder
from training.data.shard_dataset import Batch, LoaderConfig, ShardDataset
from training.data.tokenizer import Tokenizer
from training.distributed import World


class RunBatches:
    """Yields the batches of this rank.

    Args:
        config: the configuration of the run.
        world: this process among all ranks.
        samples: the samples of every epoch.
        tokenizer: encodes the texts.
        image_size: side of the images in pixels.
        state: the start of the next batch.

    Attributes:
        state: the start of the batch after the last one that was trained on.
        index: the samples of the current epoch.
    """

    def __init__(
        self,
        config: TrainConfig,
        world: World,
        samples: EpochSamples,
        tokenizer: Tokenizer,
        *,
        image_size: int,
        state: DataState,
    ) -> None:
        assert config.shuffle_streams is not None, "train() sets it"
        self.state, self.index = state, samples.all
        self._config, self._samples, self._tokenizer = config, samples, tokenizer
        self._loader = LoaderConfig(
            order=SampleOrder(config.seed, config.shuffle_streams, config.shuffle_window),
            image_size=image_size,
            batch_size=config.batch_size,
            rank=world.rank,
            world_size=world.size,
            num_workers=config.num_workers,
            pin_memory=world.device.type == "cuda",
            cache_bytes=config.loader_cache_bytes,
            on_bad_row=config.on_bad_row,
            views=config.transforms,
        )

    def next(self, steps: int) -> Iterator[Batch]:
        """Yield the next `steps` batches; the caller trains on each and calls `advance` before it asks for another."""
        if not self._samples.differ:
            yield from self._load(steps)
            return
        size = self._config.batch_size
        while steps > 0:
            epoch, position = self.state
            self.index = self._samples.index(epoch)
            of_epoch = min(steps, (self.index.samples - position) // size)
            yield from self._load(of_epoch)
            steps -= of_epoch
            if steps > 0:
                self.state = DataState(epoch + 1)

    def advance(self) -> None:
        """Note that a batch was trained on."""
        size = self._config.batch_size
        self.state = self.state.batch_start(size, self.index.samples).advance(size)

    def _load(self, steps: int) -> Iterator[Batch]:
        """Yield `steps` batches of the samples in the current index."""
        storage = self._config.open_storage()
        dataset = ShardDataset(self.index, storage, self._tokenizer, self._loader, start=self.state, steps=steps)
        return load_batches(dataset)
