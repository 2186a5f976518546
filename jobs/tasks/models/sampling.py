"""Sample tokens by hashes, so that a text depends on its seed and not on the other texts of the batch.

The classes follow the protocols of the logits processors and stopping criteria of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curation.hashing import u64, uniform


class SeededSampling:
    """Chooses the next token of each text by a temperature, nucleus sampling (arXiv 1904.09751) and a hash.

    It leaves only the chosen token, which greedy search then takes.

    Args:
        seeds: one per text.
        temperature: divides the logits.
        top_p: the likeliest tokens whose probabilities reach this sum are drawn from.
        prompt_length: number of tokens before the first one that is chosen.
    """

    def __init__(self, seeds: Sequence[int], *, temperature: float, top_p: float, prompt_length: int) -> None:
        self._seeds, self._temperature, self._top_p, self._start = seeds, temperature, top_p, prompt_length

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return scores in which all tokens but the chosen one are impossible."""
        import torch

        step = str(input_ids.shape[1] - self._start)
        uniforms = [uniform(u64(seed, "token", step)) for seed in self._seeds]
        drawn = torch.tensor(uniforms, dtype=torch.float64, device=scores.device)
        chances = torch.softmax(scores.double() / self._temperature, -1)
        chances, tokens = chances.sort(dim=-1, descending=True, stable=True)
        kept = chances * (chances.cumsum(-1) - chances < self._top_p)
        is_reached = kept.cumsum(-1) > (drawn * kept.sum(-1))[:, None]
        chosen = tokens.gather(-1, is_reached.to(torch.int8).argmax(-1, keepdim=True))
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)


class LineEnd:
    """Ends a text after a token with a line break.

    Args:
        tokenizer: gives the tokens that have one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._breaks = [token for token in range(len(tokenizer)) if "\n" in tokenizer.decode([token])]

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002 - of the protocol
        """Return which texts have ended."""
        import torch

        return torch.isin(input_ids[:, -1], torch.tensor(self._breaks, device=input_ids.device))
