"""The typed configuration of a training run: a YAML file, overridden by environment variables, overridden by flags.

Every key is documented here, once; `python -m training.train --help` prints these descriptions. In the environment
`batch_size` is `WORLDCURATE_TRAINING_BATCH_SIZE`, `storage.region` is `WORLDCURATE_TRAINING_STORAGE__REGION`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from curation.cli.config import StorageSection
from curation.io.storage import Storage, is_s3

SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _switch_or_path(value: Any) -> Any:
    """Read the words for on and off as a boolean and leave any other text as the path it is."""
    return SWITCHES.get(value.lower(), value) if isinstance(value, str) else value


class TrainConfig(BaseSettings):
    """All keys of a training run."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="WORLDCURATE_TRAINING_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    lake: str | None = Field(None, description="the lake: a folder or s3://bucket/prefix")
    recipe: str = Field("default", description="recipe whose shards are trained on")
    batches: Literal["all"] | list[str] = Field("all", description="batches of that recipe to train on, or all")
    version: int | None = Field(
        None, ge=0, description="version of the shards table; default: the newest at the start, kept when resuming"
    )
    draw: Literal["published", "online"] = Field(
        "published",
        description="published: the pairs that balance drew; online: draw from shards of every matched pair "
        "(balance.selection: all), anew at every epoch",
    )
    storage: StorageSection = StorageSection()

    preset: Literal["tiny", "vit_b_32", "vit_b_16", "vit_l_14", "vit_h_14"] = Field("tiny", description="model size")
    image_size: int | None = Field(None, ge=1, description="side of the square input in pixels; default: the preset's")
    tokenizer: str = Field("train", description="a tokenizer.json, or `train` to train one on the shards' texts")
    vocab_size: int = Field(8192, ge=300, description="size of a vocabulary trained here")
    grad_checkpointing: bool = Field(False, description="recompute activations in the backward pass to save memory")

    batch_size: int = Field(256, ge=2, description="pairs of one step, over all ranks together")
    steps: int | None = Field(None, ge=1, description="optimizer steps in all; either this or seen_pairs")
    seen_pairs: int | None = Field(
        None, ge=1, validate_default=True, description="pairs seen in all, rounded up to whole steps"
    )
    lr: Annotated[float, Field(gt=0)] = Field(4e-4, description="peak learning rate")
    warmup_steps: int | None = Field(
        None, ge=0, description="steps of linear warm-up; default: 2,000, or a tenth of the steps when that is fewer"
    )
    weight_decay: float = Field(0.1, ge=0, description="AdamW's decay of matrices; vectors and scalars have none")
    betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's betas")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast; weights and loss stay fp32")

    seed: int = Field(0, description="seed of weights, sample order, crops and online draws")
    shuffle_streams: int = Field(
        16, ge=1, description="streams the sample order is woven from; ranks x loader workers should divide it"
    )
    shuffle_window: int = Field(2048, ge=1, description="samples shuffled among each other within a stream")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share of images held out, by a hash of the image_id")
    validation_pairs: int = Field(2048, ge=1, description="most held-out pairs that retrieval is measured on")
    num_workers: int = Field(0, ge=0, description="loader processes per rank; 0 loads in the training process")

    output: str | None = Field(None, description="folder for checkpoints and TensorBoard files, seen by every rank")
    resume: Annotated[bool | str, BeforeValidator(_switch_or_path)] = Field(
        False, description="true: go on from the newest checkpoint in output, if there is one; or a checkpoint folder"
    )
    log_every: int = Field(10, ge=1, description="steps between progress lines")
    save_every: int = Field(1000, ge=1, description="steps between checkpoints; the last step always saves one")
    keep_checkpoints: int = Field(3, ge=1, description="newest checkpoints that are kept")

    @field_validator("seen_pairs")
    @classmethod
    def _one_length(cls, value: int | None, info: ValidationInfo) -> int | None:
        if (value is None) == (info.data.get("steps") is None):
            raise ValueError("set exactly one of steps and seen_pairs")
        return value

    @field_validator("betas")
    @classmethod
    def _betas_below_one(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in value):
            raise ValueError("both must be at least 0 and less than 1")
        return value

    @field_validator("output")
    @classmethod
    def _local_output(cls, value: str | None) -> str | None:
        if value is not None and is_s3(value):
            raise ValueError("must be a folder on a disk that every rank sees, not on S3")
        return value

    def open_storage(self) -> Storage:
        """Return the storage these keys describe."""
        return Storage(**self.storage.model_dump())

    @property
    def output_folder(self) -> Path:
        """The folder this run writes to."""
        assert self.output is not None, "checked when the config was read"
        return Path(self.output)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.steps if self.steps is not None else -(-(self.seen_pairs or 0) // self.batch_size)

    @property
    def warmup(self) -> int:
        """Steps of linear warm-up."""
        return self.warmup_steps if self.warmup_steps is not None else min(2000, self.total_steps // 10)
