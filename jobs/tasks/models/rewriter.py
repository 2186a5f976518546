"""A maker of rewritten texts by a causal language model that continues examples (LaCLIP, arXiv 2305.20088)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Final, NamedTuple

import pyarrow as pa

from curation.annotations.base import WrittenText, written
from curation.annotations.row_texts import published_number
from curation.hashing import u64
from jobs.tasks.models.devices import AUTO, choose_device
from jobs.tasks.models.pretrained import check_model, load_generator
from jobs.tasks.models.sampling import LineEnd, SeededSampling

SHOWN: Final = 3  # examples in a prompt
BATCH: Final = 16  # prompts that the model sees at once
TASK: Final = "Rewrite image captions."
STYLE: Final = "examples"
EXAMPLES: Final = (
    ("dog running on beach", "A dog runs along the sandy beach."),
    ("Red vintage car parked outside old building", "An old red car stands in front of a historic building."),
    ("two kids playing football in the park", "In a park, two children are playing with a football."),
    ("fresh vegetables at farmers market", "A stall at the farmers' market is full of fresh vegetables."),
    ("woman reading book by the window", "By a window, a woman sits and reads a book."),
    ("Snow covered mountains at sunset", "The setting sun lights up mountains covered with snow."),
    ("cat sleeping on a sofa", "A cat has curled up on the sofa and is asleep."),
    ("bridge over river in autumn", "In autumn, a bridge leads across a quiet river."),
    ("chef preparing a dish in restaurant kitchen", "A cook is making a meal in the kitchen of a restaurant."),
)


class _Prompt(NamedTuple):
    """A text to rewrite: the number of its row, the style, the words for the model, and the seed of the sample."""

    row: int
    style: str
    words: str
    seed: int


@dataclass(frozen=True)
class Rewriter:
    """Makes `rewrites` or `paraphrases`: one per style, sampled from a causal language model.

    The model continues three examples, drawn anew for each text, and the text. Its answer is the first line; an empty
    one, and one that repeats the text, are left out. Every choice is a hash of the text.

    Attributes:
        model: a folder as `save_pretrained` of transformers writes it, with the tokenizer.
        examples: by style, at least three pairs of a text and a rewritten text; default: one style, in English.
        max_tokens: tokens of an answer, at most.
        temperature: divides the logits.
        top_p: the likeliest tokens whose probabilities reach this sum are drawn from.
        device: a device of torch, or `auto`.
    """

    model: str
    examples: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=lambda: {STYLE: EXAMPLES})
    max_tokens: int = 77
    temperature: float = 0.9
    top_p: float = 0.95
    device: str = AUTO

    version: ClassVar[str] = "1"
    reads: ClassVar[tuple[str, ...]] = ("text", "texts")
    uses_seed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError if a parameter is wrong, UsageError if there is no such model or file."""
        if self.max_tokens < 1 or self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ValueError("max_tokens must be at least 1, temperature above 0, and top_p above 0 and at most 1")
        if any(len(each) < SHOWN or any(len(pair) != 2 for pair in each) for each in self.examples.values()):
            raise ValueError(f"examples must have at least {SHOWN} pairs of texts per style")
        check_model(self.model, "annotate.makers")

    def __call__(self, rows: pa.Table, seed: int) -> Sequence[list[WrittenText]]:
        """Return the texts of each row. Raises what reading the model raises."""
        originals = rows.select(self.reads).to_pylist()
        prompts = list(self._prompts([row["text"] for row in originals], seed))
        texts: list[list[WrittenText]] = [[] for _ in originals]
        for start in range(0, len(prompts), BATCH):
            batch = prompts[start : start + BATCH]
            for prompt, answer in zip(batch, self._answers(batch), strict=True):
                row = originals[prompt.row]
                known = {row["text"], *(each["text"] for each in texts[prompt.row])}
                if answer and answer not in known:
                    texts[prompt.row].append(written(answer, prompt.style, published_number(row["text"], row["texts"])))
        return texts

    def _prompts(self, texts: Sequence[str], seed: int) -> Iterator[_Prompt]:
        for number, text in enumerate(texts):
            for style, examples in self.examples.items():
                drawn = u64(seed, "rewrite", style, text)
                yield _Prompt(number, style, make_prompt(text, draw_examples(examples, drawn)), drawn)

    def _answers(self, prompts: Sequence[_Prompt]) -> list[str]:
        """Return the first line that the model writes after each prompt."""
        import torch

        model, tokenizer, line_end = _load(self.model, choose_device(self.device))
        inputs = tokenizer([prompt.words for prompt in prompts], padding=True, return_tensors="pt").to(model.device)
        inputs.pop("token_type_ids", None)
        length = inputs["input_ids"].shape[1]
        sampling = SeededSampling(
            [prompt.seed for prompt in prompts], temperature=self.temperature, top_p=self.top_p, prompt_length=length
        )
        with torch.inference_mode():
            tokens = model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                max_new_tokens=self.max_tokens,
                logits_processor=[sampling],
                stopping_criteria=[line_end],
                pad_token_id=tokenizer.pad_token_id,
            )
        answers: list[str] = tokenizer.batch_decode(tokens[:, length:], skip_special_tokens=True)
        return [first_line(answer) for answer in answers]


def make_prompt(text: str, examples: Sequence[Sequence[str]]) -> str:
    """Return the words that a model continues with a rewritten text."""
    lines = [f"{before} => {after}" for before, after in examples]
    return "\n".join([TASK, "", *lines, f"{text} =>"])


def draw_examples(examples: Sequence[Sequence[str]], seed: int) -> list[Sequence[str]]:
    """Return some different examples in an order that a seed decides."""
    ranked = sorted(range(len(examples)), key=lambda number: u64(seed, "example", str(number)))
    return [examples[number] for number in ranked[:SHOWN]]


def first_line(answer: str) -> str:
    """Return the first line of an answer without blanks around it."""
    return answer.strip(" ").partition("\n")[0].strip()


@lru_cache(maxsize=2)
def _load(folder: str, device: str) -> tuple[Any, Any, LineEnd]:
    """Read a model with its tokenizer, once per process. Raises what `load_generator` raises."""
    model, tokenizer = load_generator(folder, "AutoModelForCausalLM", device)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer, LineEnd(tokenizer)
