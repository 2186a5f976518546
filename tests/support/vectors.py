"""Numbers of related systems, computed with their public code or by plain formulas, each with the rule it follows."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@cache
def _vectors() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("related_vectors.json").read_text(encoding="utf-8"))


def inputs(system: str, name: str) -> dict[str, Any]:
    """Return the inputs of a vector; lists of numbers become float64 tensors that require gradients."""
    return {key: _leaf(value) for key, value in _vectors()[system][name]["inputs"].items()}


def expected(system: str, name: str) -> Any:
    """Return the expected results of a vector as they are written."""
    return _vectors()[system][name]["expected"]


def _leaf(value: Any) -> Any:
    if not (isinstance(value, list) and _is_numbers(value)):
        return value
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def _is_numbers(value: Any) -> bool:
    if not isinstance(value, list):
        return isinstance(value, int | float)
    same_length = len({len(part) for part in value if isinstance(part, list)}) <= 1
    return same_length and all(_is_numbers(part) for part in value)


def assert_close(found: Tensor | float | None, wanted: Any, *, atol: float = 1e-9) -> None:
    """Assert that a float64 result equals a vector's numbers to 1e-9, the precision that the vectors state."""
    assert found is not None
    torch.testing.assert_close(
        torch.as_tensor(found, dtype=torch.float64).detach(),
        torch.tensor(wanted, dtype=torch.float64),
        rtol=1e-9,
        atol=atol,
    )
