"""Hashes of images by a model: the signs of a random projection of their embeddings, as in the reference.

Images that a model finds alike have hashes that differ in few bits: two embeddings at an angle a differ in each bit
with probability a / pi (Charikar, "Similarity Estimation Techniques from Rounding Algorithms", 2002).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from curation.errors import UsageError

PACKAGES: Final = ("torch", "transformers")
BITS: Final = 64
SEED: Final = 0  # of the projection
DECIMALS: Final = 4  # of embeddings; the others depend on the machine and on the batch


@dataclass(frozen=True)
class EmbeddingHasher:
    """Hashes stored images by the model in `folder`, as `save_pretrained` of transformers writes it."""

    folder: str

    def hashes(self, images: Sequence[bytes]) -> npt.NDArray[np.uint64]:
        """Return the hashes of encoded images. Raises what reading the model raises."""
        if not images:
            return np.empty(0, np.uint64)
        model = _load(self.folder)
        pixels = [np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in images]
        return sign_bits(model.embeddings(pixels))


def check_model(folder: str) -> None:
    """Raise UsageError if there is no model in a folder, or the packages that read it are missing."""
    if missing := [name for name in PACKAGES if not find_spec(name)]:
        raise UsageError(f"dedup.model: needs {' and '.join(missing)}: run pip install 'worldcurate[train]'")
    if not (Path(folder) / "config.json").is_file():
        raise UsageError(f"dedup.model: {folder} has no config.json of a model: give the folder of one")


def sign_bits(embeddings: npt.NDArray[np.float64]) -> npt.NDArray[np.uint64]:
    """Return the signs of a random projection of embeddings, one per row, as 64-bit hashes."""
    projection = np.random.Generator(np.random.PCG64(SEED)).standard_normal((embeddings.shape[1], BITS))
    signs = np.packbits(np.round(embeddings, DECIMALS) @ projection > 0, axis=1)
    return signs.view(">u8").ravel().astype(np.uint64)


@dataclass(frozen=True)
class _Model:
    model: Any
    processor: Any

    def embeddings(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
        """Return the unit embeddings of images; from transformers 5 on, most models return them in an object."""
        import torch
        from torch.nn.functional import normalize

        inputs = self.processor(images=list(images), input_data_format="channels_last", return_tensors="pt")
        embed = getattr(self.model, "get_image_features", self.model)
        with torch.inference_mode():
            features = embed(pixel_values=inputs["pixel_values"])
            unit = normalize(getattr(features, "pooler_output", features).double(), dim=-1)
        return np.asarray(unit.numpy(), np.float64)


@lru_cache(maxsize=1)
def _load(folder: str) -> _Model:
    """Read a model, once per process. Raises ValueError if weights are missing, and what transformers raises."""
    import torch
    from transformers import AutoImageProcessor, AutoModel

    torch.set_num_threads(1)  # a task has one core
    model: Any
    model, report = AutoModel.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    if report["missing_keys"]:
        raise ValueError(f"{folder} lacks weights of its model: {', '.join(sorted(report['missing_keys'])[:3])}")
    processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)  # type: ignore[no-untyped-call]
    return _Model(model.eval(), processor)
