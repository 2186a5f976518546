"""A maker of English texts by a translation model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Final

import pyarrow as pa

from jobs.tasks.models.devices import AUTO, choose_device
from jobs.tasks.models.pretrained import check_model, load_generator

BATCH: Final = 16  # texts that the model sees at once, all of one language
ENGLISH: Final = "en"


@dataclass(frozen=True)
class Translator:
    """Makes `english`: the published text, translated by a sequence-to-sequence model with greedy search.

    An English text is its own translation. A text in a language that the model does not know has none.

    Attributes:
        model: a folder as `save_pretrained` of transformers writes it, with the tokenizer.
        languages: the model's code of each language key that is translated, such as `de: deu_Latn`, for a model of many
            languages. Without them, all texts are translated, by a model of one pair of languages.
        target: the model's code of English; it is forced as the first token.
        prefix: words before each text, such as those that a T5 model needs.
        max_tokens: tokens of a translation, at most.
        device: a device of torch, or `auto`.
    """

    model: str
    languages: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    prefix: str = ""
    max_tokens: int = 128
    device: str = AUTO

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("text", "lang")
    uses_seed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise ValueError if a parameter is wrong, UsageError if there is no such model."""
        if self.max_tokens < 1 or bool(self.languages) != bool(self.target):
            raise ValueError("max_tokens must be at least 1, and languages and target go together")
        check_model(self.model, "annotate.makers")

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[str | None]:  # noqa: ARG002 - it draws nothing
        """Return the English text of each row. Raises what reading the model raises."""
        texts, langs = rows["text"].to_pylist(), rows["lang"].to_pylist()
        english: list[str | None] = [text if lang == ENGLISH else None for text, lang in zip(texts, langs, strict=True)]
        for code, numbers in self._by_code(langs).items():
            for start in range(0, len(numbers), BATCH):
                batch = numbers[start : start + BATCH]
                for number, translation in zip(batch, self._translate([texts[n] for n in batch], code), strict=True):
                    english[number] = translation or None
        return english

    def _by_code(self, langs: Sequence[str]) -> dict[str | None, list[int]]:
        """Return the rows to translate by the model's code of their language."""
        groups: dict[str | None, list[int]] = {}
        for number, lang in enumerate(langs):
            if lang != ENGLISH and (not self.languages or lang in self.languages):
                groups.setdefault(self.languages.get(lang), []).append(number)
        return groups

    def _translate(self, texts: Sequence[str], code: str | None) -> list[str]:
        import torch

        model, tokenizer = _load(self.model, choose_device(self.device))
        if code:
            tokenizer.src_lang = code
        options = {"forced_bos_token_id": tokenizer.convert_tokens_to_ids(self.target)} if self.target else {}
        inputs = tokenizer([self.prefix + text for text in texts], padding=True, truncation=True, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            tokens = model.generate(
                **inputs.to(model.device), do_sample=False, num_beams=1, max_new_tokens=self.max_tokens, **options
            )
        translations: list[str] = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(each.split()) for each in translations]


@lru_cache(maxsize=2)
def _load(folder: str, device: str) -> tuple[Any, Any]:
    """Read a model with its tokenizer, once per process. Raises what `load_generator` raises."""
    return load_generator(folder, "AutoModelForSeq2SeqLM", device)
