"""The state of a run at one step, as its ranks save it together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

from torch import Tensor
from torch.optim import Optimizer
from transformers import MetaClip2Model

from curation.errors import OutputError
from training.data.tokenizer import Tokenizer
from training.engine.checkpoint import HEADS_FILE, OPTIMIZER_FOLDER, WEIGHTS_FILE, TrainingState, moments_of
from training.models.towers import TwoTowers
from training.parallel.blocks import BlockPlan, SavedBlock
from training.parallel.tensors import local

NOTHING: Mapping[str, Mapping[str, Tensor]] = MappingProxyType({})


class Snapshot(NamedTuple):
    """All that a checkpoint stores.

    Attributes:
        model: the model; only its class and its configuration are used.
        tokenizer: its tokenizer.
        state: the state of the run.
        blocks: the blocks of all tensors, the file of each in the checkpoint, and the rank that saves it.
        share: the blocks that this rank saves.
    """

    model: MetaClip2Model
    tokenizer: Tokenizer
    state: TrainingState
    blocks: list[SavedBlock]
    share: Mapping[SavedBlock, Tensor]

    def copied(self) -> Self:
        """Return a snapshot whose tensors are copies in the memory of the CPU, which training does not change."""
        return self._replace(share={saved: value.to("cpu", copy=True) for saved, value in self.share.items()})

    def check_finite(self) -> None:
        """Raise OutputError if a weight or a moment of this rank's share is not finite."""
        for saved, value in self.share.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise OutputError(
                    f"output: {saved.block.name} of {saved.file} is not finite after step {self.state.step}, so it is "
                    f"not saved: lower lr or lengthen the warm-up, and continue with resume: true; earlier checkpoints "
                    f"are unchanged"
                )


def take_snapshot(
    plan: BlockPlan,
    towers: TwoTowers,
    tokenizer: Tokenizer,
    optimizer: Optimizer,
    state: TrainingState,
    *,
    copies: Mapping[str, Mapping[str, Tensor]] = NOTHING,
) -> Snapshot:
    """Return the present state of a run; it shares the memory of model and optimizer. Every rank must call it.

    `copies` are the weights of further models, such as the moving average of the weights, by their folder. They may be
    on rank 0 only.
    """
    models = {"": towers.model.state_dict(), **copies}
    tensors = {(Path(folder) / WEIGHTS_FILE).as_posix(): weights for folder, weights in models.items()}
    tensors[HEADS_FILE] = towers.heads.state_dict()
    tensors[OPTIMIZER_FOLDER] = moments_of(towers.parameters_by_name(), optimizer)
    blocks = plan.of(tensors)
    own = [saved for saved in blocks if saved.rank == plan.world.rank]
    share = {saved: local(tensors[saved.file][saved.block.name]).detach() for saved in own}
    return Snapshot(towers.model, tokenizer, state, blocks, share)
