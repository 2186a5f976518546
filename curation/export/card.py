"""Writes the card of an export: a README with the metadata from which the Hugging Face Hub makes its page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from curation.export.folder import languages_of
from curation.export.formats import FORMATS
from curation.export.part import Part

ISO_639 = re.compile(r"[a-z]{2,3}")
SIZES: Final = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
                (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"), (10**11, "10B<n<100B"),
                (10**12, "100B<n<1T"))  # fmt: skip
NOTICES: Final = """\
## Licenses

The images and texts were published on the web by others, and their rights stay with their owners. This export grants no
rights to them. `image_url` and `page_url` say where each image was found.

## Takedowns

Images and hosts that were taken down before this export was made are not in it ({hidden:,} rows were left out). To have
an image removed, write to whoever distributes this export and name its `image_id` or `image_url`. The distributor
removes it with `jobs.takedown` and exports again. If you hold a copy, replace it by the newest export.

## Citation

Cite worldcurate, with its version and the manifest's `plan`, which identifies the data, and the paper whose recipe it
implements:

    @article{{chuang2025metaclip2,
      title   = {{Meta CLIP 2: A Worldwide Scaling Recipe}},
      author  = {{Chuang, Yung-Sung and others}},
      journal = {{arXiv preprint arXiv:2507.22062}},
      year    = {{2025}}
    }}
"""


def card(plan: Mapping[str, Any], parts: Sequence[Part], names: Mapping[str, str]) -> str:
    """Return the card of a finished export; `names` are the names of languages."""
    hidden = sum(part.hidden for part in parts)
    sections = [_about(plan, parts), _languages(plan, parts, names), NOTICES.format(hidden=hidden)]
    return f"---\n{_metadata(plan, parts)}---\n\n" + "\n".join(sections)


def _metadata(plan: Mapping[str, Any], parts: Sequence[Part]) -> str:
    rows = sum(part.rows for part in parts)
    data_files = [{"split": "train", "path": FORMATS[plan["request"]["format"]].glob}]
    return yaml.safe_dump(
        {
            "language": [lang for lang in languages_of(parts) if ISO_639.fullmatch(lang)],
            "license": "other",
            "task_categories": ["zero-shot-image-classification", "image-to-text"],
            "size_categories": [next((name for limit, name in SIZES if rows < limit), "n>1T")],
            "configs": [{"config_name": "default", "data_files": data_files}],
        },
        sort_keys=False,
        allow_unicode=True,
    )


def _about(plan: Mapping[str, Any], parts: Sequence[Part]) -> str:
    request, recipe = plan["request"], plan["recipe"]
    rows, size = sum(part.rows for part in parts), sum(part.size for part in parts)
    drawn = (
        "Balancing has drawn these pairs: train on all of them."
        if recipe["selection"] == "drawn"
        else "These are all matched pairs: draw each with its `keep_probability`, in every epoch again."
    )
    lines = [
        f"# Recipe {request['recipe']}",
        "",
        f"{rows:,} image–text pairs in {len(parts):,} files ({size:,} bytes), curated by worldcurate. {drawn}",
        "",
        "| | |",
        "|---|---|",
        f"| batches | {', '.join(request['batches'])} |",
        *([f"| compacted dataset | {request['dataset']} |"] if "dataset" in request else []),
        f"| version of the table `{'compacted' if 'dataset' in request else 'shards'}` | {request['version']} |",
        *(f"| {key} | {_value(recipe[key])} |" for key in sorted(recipe)),
    ]
    return "\n".join(lines) + "\n"


def _languages(plan: Mapping[str, Any], parts: Sequence[Part], names: Mapping[str, str]) -> str:
    thresholds = plan["thresholds"]
    note = (
        "t is the threshold of the last batch. Pairs with an entry of at most t matches are all kept."
        if thresholds is not None
        else "The thresholds t are not known any more: the last batch was balanced again after its shards were made."
    )
    rows = (
        f"| {lang} | {names.get(lang, '')} | {count:,} | {_threshold(thresholds, lang)} |"
        for lang, count in languages_of(parts).items()
    )
    return "\n".join(
        ["## Languages", "", note, "", "| code | language | pairs | t |", "|---|---|---:|---:|", *rows, ""]
    )


def _threshold(thresholds: Mapping[str, int] | None, lang: str) -> str:
    t = (thresholds or {}).get(lang)
    return "–" if t is None else f"{t:,}"


def _value(value: Any) -> str:
    return "–" if value is None else str(value)
