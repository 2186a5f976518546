"""The typed configuration of a training run: a YAML file; environment variables override it, flags override both.

Every key is documented once, here; `python -m training.train --help` prints the descriptions. The environment variable
of `batch_size` is `WORLDCURATE_TRAINING_BATCH_SIZE`, that of `storage.region` `WORLDCURATE_TRAINING_STORAGE__REGION`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from curation.cli.config import StorageSection
from curation.cli.locations import Location, PathKey
from curation.io.storage import Storage
from training.data.epochs.mixture import Mixture
from training.evaluation.evaluation_set import HELD_OUT, EvaluationSet
from training.methods.keys import MethodKeys
from training.methods.phase import PlannedPhase, default_warmup, plan_phases
from training.output.s3_copy import S3Copy, working_folder

BOOLEAN_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _boolean_or_path(value: Any) -> Any:
    """Convert the words for true and false to a boolean; any other text is a path and stays unchanged."""
    return BOOLEAN_WORDS.get(value.lower(), value) if isinstance(value, str) else value


def _name(value: Any) -> Any:
    """Convert a name that looks like a number to a string."""
    return str(value) if isinstance(value, int) else value


class TrainConfig(MethodKeys):
    """All configuration keys of a training run."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="WORLDCURATE_TRAINING_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
    )

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("steps", "seen_pairs", "seen_english_pairs"),)

    lake: Location | None = Field(None, description="the lake: a folder or s3://bucket/prefix")
    recipe: Annotated[str | dict[str, Annotated[float, Field(gt=0)]], BeforeValidator(_name)] = Field(
        "default",
        description="recipe whose shards to train on; or several, each with its share of the pairs, such as "
        "{worldwide: 3, captions: 1}",
    )
    batches: Literal["all"] | list[str] = Field(
        "all", description="batches of the recipe to train on, such as 2024-05-31,2024-06-01; or all"
    )
    dataset: str | None = Field(
        None, description="compacted dataset of each recipe to train on, in the place of its batches (jobs.compact)"
    )
    version: int | None = Field(
        None,
        ge=0,
        description="version of the table `shards`, or `compacted` with a dataset; default: the newest, or that of the "
        "run being resumed",
    )
    draw: Literal["published", "online"] = Field(
        "published",
        description="published: the pairs that balance sampled; online: sample in every epoch from shards of every "
        "matched pair (balance.selection: all)",
    )
    languages: Literal["all"] | list[str] = Field(
        "all", description="languages of the texts to train on, such as en,de,sw, and of the held-out pairs; or all"
    )
    language_temperature: float = Field(
        1.0,
        gt=0,
        description="a language has a share of the pairs seen that is proportional to its share of the pairs to the "
        "power of 1 / this: 1 keeps the shares, more lets rare languages occur more often",
    )
    max_repeats: int = Field(
        10, ge=1, description="most times that an epoch repeats a pair of a rare language or of a preferred recipe"
    )
    storage: StorageSection = StorageSection()

    preset: Literal["tiny", "vit_s_16", "vit_b_32", "vit_b_16", "vit_l_14", "vit_h_14"] = Field(
        "tiny", description="model size; an encoder that starts from a pretrained model has the size of that model"
    )
    image_size: int | None = Field(
        None, ge=1, description="side of the square input image in pixels; default: that of the preset or the start"
    )
    tokenizer: Annotated[str, PathKey(words=("train",))] = Field(
        "train",
        description="a Hugging Face folder, a tokenizer.json, a SentencePiece .model, or `train`: use that of the "
        "pretrained text encoder, or train one on the texts of the shards",
    )
    context_length: int | None = Field(
        None, ge=3, description="tokens of a text with start and end; default: that of the preset or the start"
    )
    vocab_size: int = Field(8192, ge=300, description="vocabulary size of a tokenizer trained on the shards")
    tokenizer_alpha: float = Field(
        0.3,
        ge=0,
        le=1,
        description="balance of languages in a trained tokenizer: 1 keeps their shares, 0 makes them equal",
    )
    grad_checkpointing: bool = Field(False, description="recompute activations in the backward pass to save memory")

    batch_size: int = Field(256, ge=2, description="pairs per step, over all ranks")
    steps: int | None = Field(
        None,
        ge=1,
        description="number of optimizer steps, of each language in a sequence; set this or one of the two below",
    )
    seen_pairs: int | None = Field(None, ge=1, description="total number of pairs seen, rounded up to whole steps")
    seen_english_pairs: int | None = Field(
        None,
        ge=1,
        description="number of English pairs seen: seen_pairs is this divided by the share of English in the shards",
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of a moving average of the weights, saved as a second model in the folder ema of every "
        "checkpoint; default: no average",
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: autocast, with weights and loss in fp32")

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: GPUs if there are any, or else the CPU; cuda: end the run if there is no GPU"
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="ddp: every rank stores the whole model; fsdp: every rank stores a share of weights, gradients and "
        "moments, for models that do not fit otherwise",
    )
    compile: bool = Field(
        False, description="compile the encoders with torch.compile: slow first steps, then faster ones"
    )
    deterministic: bool = Field(
        False, description="use only deterministic operations, also on GPUs, where some are slower"
    )
    seed: int = Field(0, description="seed of weights, sample order, crops and per-epoch sampling")
    shuffle_streams: int | None = Field(
        None,
        ge=1,
        description="streams that the sample order interleaves; default: one per loader worker of all ranks at the "
        "start of the run, also after resuming with other numbers of them",
    )
    shuffle_window: int = Field(2048, ge=1, description="samples per shuffle window of a stream")
    validation_share: float = Field(
        0.0, ge=0, lt=1, description="share of images held out for validation, by a hash of the image_id"
    )
    validation_pairs: int = Field(2048, ge=1, description="maximum number of held-out pairs used to measure retrieval")
    evaluations: dict[str, EvaluationSet] = Field(
        {}, description="evaluation sets by name, measured while training runs; the ranks share them"
    )
    evaluate_every: int | None = Field(
        None,
        ge=1,
        description="steps between evaluations, also of the held-out pairs; default: those between checkpoints; the "
        "last step always has one",
    )
    num_workers: int = Field(
        0, ge=0, description="loader processes per rank; 0: load in a thread of the training process"
    )
    on_bad_row: Literal["fail", "replace"] = Field(
        "fail",
        description="fail: an image that cannot be decoded ends the run; replace: the next row of its row group takes "
        "its place, named in the log and counted",
    )
    loader_cache_bytes: int = Field(
        4 << 30,
        ge=0,
        description="limit of the disk cache of a host for row groups that several of its loader workers read, which "
        "is so if ranks x workers does not divide shuffle_streams",
    )

    output: Location | None = Field(
        None,
        description="folder for checkpoints and TensorBoard files, visible to every rank; or s3://bucket/prefix, to "
        "which they are uploaded from a folder in the cache of the host",
    )
    resume: Annotated[bool | str, BeforeValidator(_boolean_or_path), PathKey(words=tuple(BOOLEAN_WORDS))] = Field(
        False,
        description="true: resume from the newest checkpoint in output, if there is one; or a checkpoint folder",
    )
    log_every: int = Field(10, ge=1, description="steps between progress lines in the log")
    wandb_project: str | None = Field(
        None, min_length=1, description="project of Weights & Biases to which metrics are sent, too; default: none"
    )
    mlflow_experiment: str | None = Field(
        None, min_length=1, description="experiment of MLflow to which metrics are sent, too; default: none"
    )
    save_every: int = Field(1000, ge=1, description="steps between checkpoints; the last step always saves one")
    save_in_background: bool = Field(
        True, description="copy the state to memory and write checkpoints while training continues"
    )
    keep_checkpoints: int = Field(3, ge=1, description="number of newest checkpoints to keep")

    @field_validator("dataset")
    @classmethod
    def _all_batches(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("batches") != "all":
            raise ValueError("has its own batches: remove the key `batches`")
        return value

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        given = [self.steps, self.seen_pairs, self.seen_english_pairs]
        if sum(length is not None for length in given) != 1:
            raise ValueError("set exactly one of the keys `steps`, `seen_pairs` and `seen_english_pairs`")
        return self

    @field_validator("seen_english_pairs")
    @classmethod
    def _published_english(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("draw") == "online":
            raise ValueError("works with draw: published, because every online draw has another share of English")
        return value

    @field_validator("compile")
    @classmethod
    def _compile_whole_encoders(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("parallel") == "fsdp":
            raise ValueError("works with parallel: ddp, because encoders are compiled whole: turn one of them off")
        return value

    @model_validator(mode="after")
    def _several_phases_of_whole_models(self) -> Self:
        for key in ("phases", "targets"):
            if self.parallel == "fsdp" and getattr(self, key):
                raise ValueError(f"parallel: {key} works with ddp: remove one of both keys")
        if self.parallel == "fsdp" and self.has_video:
            raise ValueError("parallel: views of kind frames work with ddp: remove the key")
        return self

    @model_validator(mode="after")
    def _languages_in_sequence(self) -> Self:
        self.sequence.check(self.__dict__)
        return self

    @field_validator("evaluations")
    @classmethod
    def _plain_names(cls, value: dict[str, EvaluationSet]) -> dict[str, EvaluationSet]:
        for name in value:
            if not re.fullmatch(r"[\w.-]+", name) or name == HELD_OUT:
                raise ValueError(f"{name!r} is not a name: use letters, digits, `_`, `-` and `.`, and not {HELD_OUT}")
        return value

    def with_streams(self, world_size: int, saved: Mapping[str, Any] | None) -> Self:
        """Return the configuration with its number of streams, given the configuration of a run to resume, if any."""
        streams = self.shuffle_streams or (saved or {}).get("shuffle_streams") or world_size * max(1, self.num_workers)
        return self.model_copy(update={"shuffle_streams": streams})

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes to train on, sorted."""
        return (self.recipe,) if isinstance(self.recipe, str) else tuple(sorted(self.recipe))

    @property
    def mixture(self) -> Mixture:
        """How epochs mix recipes and languages."""
        weights = {} if isinstance(self.recipe, str) else self.recipe
        return Mixture(weights, self.language_temperature, self.max_repeats, self.seed)

    def open_storage(self) -> Storage:
        """Return the storage that these keys configure."""
        return Storage(**self.storage.model_dump())

    @property
    def output_folder(self) -> Path:
        """The output folder of this run, or its working folder if the output is on S3."""
        assert self.output is not None, "load_config requires this key"
        return working_folder(self.output)

    def s3_copy(self) -> S3Copy | None:
        """Return the output on S3; None if it is a folder."""
        return S3Copy.of(self.output, self.open_storage())

    @property
    def total_steps(self) -> int:
        """Total number of optimizer steps; seen_pairs must follow from seen_english_pairs first."""
        return self.steps if self.steps is not None else -(-(self.seen_pairs or 0) // self.batch_size)

    @property
    def warmup(self) -> int:
        """Number of linear warm-up steps."""
        return self.warmup_steps if self.warmup_steps is not None else default_warmup(self.total_steps)

    @property
    def planned_phases(self) -> list[PlannedPhase]:
        """The phases of the run. Raises UsageError if one has no step."""
        if self.phases:
            return plan_phases(self.phases, self.total_steps, self.lr)
        return [PlannedPhase("phase", self.phase, 0, self.total_steps, self.lr, self.warmup)]
