"""Check and load models that `save_pretrained` of transformers wrote."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from curation.errors import UsageError

PACKAGES: Final = ("torch", "transformers")
DECIMALS: Final = 4  # of embeddings and scores; the others depend on the machine and on the batch


def check_model(folder: str, key: str) -> str:
    """Return the type of the model in a folder, such as `clip`, without loading it.

    Raises UsageError, which starts with `key`, if there is no model or a package that reads it is missing.
    """
    if missing := [name for name in PACKAGES if not find_spec(name)]:
        raise UsageError(f"{key}: needs {' and '.join(missing)}: run pip install 'worldcurate[train]'")
    try:
        return str(json.loads((Path(folder) / "config.json").read_bytes())["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{key}: {folder} has no config.json of a model: give the folder of one") from error


def load_model(folder: str, device: str = "cpu", kind: str = "AutoModel") -> Any:
    """Return a model for inference in float32, by a class of transformers.

    Raises ValueError if weights are missing, and what transformers raises.
    """
    import torch
    import transformers

    torch.set_num_threads(1)  # a task has one core
    model: Any
    model, report = getattr(transformers, kind).from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
    )
    if report["missing_keys"]:
        raise ValueError(f"{folder} lacks weights of its model: {', '.join(sorted(report['missing_keys'])[:3])}")
    return model.to(device).eval()


def load_generator(folder: str, kind: str, device: str) -> tuple[Any, Any]:
    """Return a model that writes texts, of a class of transformers, and its tokenizer.

    Raises what `load_model` and transformers raise.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return load_model(folder, device, kind), tokenizer


def embeddings(features: Any, *, unit: bool) -> Any:
    """Return embeddings in float64, of length 1 with `unit`.

    From transformers 5 on, most models return features in an object.
    """
    from torch.nn.functional import normalize

    rows = getattr(features, "pooler_output", features).double()
    return normalize(rows, dim=-1) if unit else rows
