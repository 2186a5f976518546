"""Generate a synthetic web and its metadata sources: `python -m demo.world --out DIR --seed 0`.

    DIR/site/                 pages and pictures for `demo.server`
    DIR/crawl/<night>/        crawl files in WAT layout, one folder per night
    DIR/wikipedia/ pageviews/ wordnet/     sources of the metadata
    DIR/heldout/              test pictures that no page links to, with labels.jsonl
    DIR/zeroshot.json         zero-shot prompts per language and kind
    DIR/truth.jsonl           kind and scene of every picture of the site
    DIR/config.yaml           configuration of the jobs for the first night
    DIR/world.json            inputs of every night

The same seed and base URL give the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import yaml
from PIL import Image

from demo.noise import BANNERS
from demo.pictures import draw_banner, draw_picture
from demo.server import HOST, preferred_port
from demo.site import NIGHTS, Page, Site, StoredImage
from demo.sources import write_dump, write_pageviews, write_wordnets
from demo.wat import write_wat
from demo.words import KINDS, SCENES, languages

HELD_OUT = 25  # pictures per kind
PROMPTS = 8  # sentences per language and kind
SHARES = dict(zip(NIGHTS, (0.65, 0.35), strict=True))  # of the pictures, per night
SIDES = (64, 72, 80, 96)
FILES_PER_NIGHT = 2
T_EN = 34


def write_world(
    out: Path,
    seed: int,
    base_url: str,
    pictures: int = 3_600,
    truncated: bool = False,
    shares: Mapping[str, float] = SHARES,
) -> None:
    """Write the world of a seed, served at `base_url`, to an empty or new folder.

    `pictures` is the number of different pictures in all nights together; `shares` names the nights and how much of
    them each has. With `truncated`, the last crawl file of the last night ends in the middle of a record.
    """
    nights = list(shares)
    out.mkdir(parents=True, exist_ok=True)
    site = Site(seed, base_url)
    for night, share in shares.items():
        pages = site.night(night, round(pictures * share))
        _write_pages(out / "site", base_url, pages)
        _write_targets(out / "site", base_url, pages, seed)
        _write_crawl(out / "crawl" / night, pages, night, seed)
    if truncated:
        last = max((out / "crawl" / nights[-1]).iterdir())
        last.write_bytes(last.read_bytes()[: last.stat().st_size * 2 // 3])
    _write_pictures(out / "site", site.pictures, seed)
    _write_static_images(out / "site" / "static", seed)
    _write_sources(out, seed)
    _write_held_out(out / "heldout", seed)
    _write_ground_truth(out, site, nights, seed)
    keys = config(out.resolve(), seed, nights[0])
    (out / "config.yaml").write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")


def config(out: Path, seed: int, night: str) -> dict[str, Any]:
    """Return the configuration of the jobs for a night of the world in `out`."""
    return {
        "lake": str(out / "lake"),
        "batch": night,
        "recipe": "demo",
        "seed": seed,
        "metadata": {
            "languages": list(languages()),
            "wikipedia": [str(out / "wikipedia" / "{code}wiki-*.xml*")],
            "pageviews": [str(out / "pageviews" / "*.gz")],
            "wordnet": [str(out / "wordnet")],
            "limits": {
                "default": {"unigram_share": 0.3, "bigram_cap": 10, "title_cap": 60},
                "en": {"unigram_min_count": 10, "title_min_views": 10},
                "vi": {"unigram_share": 0.4},  # most words have several syllables; each syllable is a unigram
            },
        },
        "ingest": {"inputs": [str(out / "crawl" / night / "*.warc.wat.gz")], "format": "wat"},
        "balance": {"policy": "tail_proportion", "t_en": T_EN},
        "images": {"max_side": 96, "min_side": 16, "timeout_s": 2.0, "retries": 1, "allow_private_hosts": [HOST]},
    }


def _write_pages(root: Path, base_url: str, pages: Iterable[Page]) -> None:
    for page in pages:
        if page.uri.startswith(base_url):
            path = root / page.uri.removeprefix(f"{base_url}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page.html(), encoding="utf-8")


def _write_targets(root: Path, base_url: str, pages: Iterable[Page], seed: int) -> None:
    """Write the targets of broken and slow links: truncated pictures, a page named .jpg, a complete picture."""
    rng = Random(f"{seed}|targets")
    for folder in ("broken", "slow"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for url in (link.url for page in pages for link in page.links):
        path = root / url.removeprefix(f"{base_url}/")
        if "/broken/page-" in url:
            path.write_text("<!doctype html><title>Not found</title>", encoding="utf-8")
        elif "/broken/cut-" in url or "/slow/" in url:
            data = _encoded(draw_picture(rng, rng.choice(KINDS), rng.choice(SCENES), 64), path.suffix)
            path.write_bytes(data if "/slow/" in url else data[: len(data) // 2])


def _write_crawl(folder: Path, pages: list[Page], night: str, seed: int) -> None:
    folder.mkdir(parents=True)
    for part in range(FILES_PER_NIGHT):
        rng = Random(f"{seed}|wat|{night}|{part}")
        write_wat(folder / f"part-{part:05}.warc.wat.gz", pages[part::FILES_PER_NIGHT], night, rng)


def _write_pictures(root: Path, pictures: Iterable[StoredImage], seed: int) -> None:
    (root / "pictures").mkdir(parents=True)
    for picture in pictures:
        rng = Random(f"{seed}|{picture.path}")
        image = draw_picture(rng, picture.subject.kind, picture.subject.scene, rng.choice(SIDES))
        (root / picture.path).write_bytes(_encoded(image, Path(picture.path).suffix))


def _write_static_images(folder: Path, seed: int) -> None:
    """Write the logo, button, spacer and banners that pages share."""
    folder.mkdir(parents=True)
    rng = Random(f"{seed}|static")
    Image.new("P", (1, 1)).save(folder / "spacer.gif")
    draw_banner(rng, 80, 32).save(folder / "logo.png")
    draw_banner(rng, 32, 16).save(folder / "button.png")
    for number in range(BANNERS):
        draw_banner(rng, 96, 48).save(folder / f"banner-{number:02}.png")


def _write_sources(out: Path, seed: int) -> None:
    for name in ("wikipedia", "pageviews", "wordnet"):
        (out / name).mkdir(parents=True)
    titles = {code: write_dump(out / "wikipedia", lang, seed)[1] for code, lang in languages().items()}
    write_pageviews(out / "pageviews", titles, seed)
    write_wordnets(out / "wordnet", seed)


def _write_held_out(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    rng = Random(f"{seed}|heldout")
    rows = []
    for kind in KINDS:
        for number in range(HELD_OUT):
            scene = rng.choice(SCENES)
            name = f"{kind}-{number:02}.png"
            (folder / name).write_bytes(_encoded(draw_picture(rng, kind, scene, rng.choice(SIDES)), ".png"))
            rows.append({"image": name, "label": kind, "scene": scene})
    _write_jsonl(folder / "labels.jsonl", rows)


def _write_ground_truth(out: Path, site: Site, nights: Sequence[str], seed: int) -> None:
    _write_jsonl(
        out / "truth.jsonl",
        (
            {
                "image_url": f"{site.base_url}/{picture.path}",
                "file": f"site/{picture.path}",
                "class": picture.subject.kind,
                "scene": picture.subject.scene,
                "lang": picture.lang,
                "night": picture.night,
            }
            for picture in site.pictures
        ),
    )
    rng = Random(f"{seed}|prompts")
    prompts = {code: {kind: lang.prompts(kind, rng, PROMPTS) for kind in KINDS} for code, lang in languages().items()}
    _write_json(out / "zeroshot.json", {"languages": prompts})
    inputs = {night: [f"crawl/{night}/*.warc.wat.gz"] for night in nights}
    _write_json(out / "world.json", {"seed": seed, "base_url": site.base_url, "nights": inputs})


def _encoded(image: Image.Image, suffix: str) -> bytes:
    file = io.BytesIO()
    if suffix == ".png":
        image.save(file, "PNG", compress_level=2)
    else:
        image.save(file, "JPEG", quality=88)
    return file.getvalue()


def _write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    """Write a world from the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.world", description="generate the synthetic web of a seed")
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder")
    parser.add_argument("--seed", type=int, default=0, help="every seed generates another world (default 0)")
    parser.add_argument("--pictures", type=int, default=3_600, help="pictures in both nights together (default 3600)")
    parser.add_argument("--port", type=int, help="port of the site in all URLs (default: derived from the seed)")
    parser.add_argument("--truncated", action="store_true", help="end the last crawl file in the middle of a record")
    args = parser.parse_args(argv)
    if args.out.exists() and any(args.out.iterdir()):
        parser.error(f"--out: {args.out} is not empty: choose a new or empty folder")
    port = args.port or preferred_port(args.seed)
    write_world(args.out, args.seed, f"http://{HOST}:{port}", args.pictures, args.truncated)


if __name__ == "__main__":
    main()
