"""Write the world of a seed: pages with pictures, crawl files, sources of the metadata, and the test set.

    OUT/site/                 the pictures, for the server
    OUT/crawl/                crawl files in WAT layout
    OUT/wikipedia/ pageviews/ wordnet/
    OUT/pictures.jsonl        every picture of the site: concept, style, artist, SHA-256 of its artwork, language, text
    OUT/heldout/              test pictures of artists that no page shows, with labels.jsonl and captions.json
    OUT/classes.json          the name of every concept in every language: the prompts
    OUT/separation.json       held-out artwork that was removed because it looks like trained artwork

The same seed and parameters give the same files, byte for byte. The test set is the same for all seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from demo.server import HOST
from demo.site import Link, Page
from demo.wat import write_wat
from demo.words import SCENES
from proof.artwork import Artwork, Gallery
from proof.names import Name
from proof.pictures import compose, encode
from proof.settings import World
from proof.sources import write_sources
from proof.texts import Texts

BATCH = "2024-10-15"
FOLDER_SIZE = 1000  # pictures per folder

Names = Mapping[str, Mapping[str, Name]]


def write_world(world: World, gallery: Gallery, names: Names, out: Path, *, pictures: int, seed: int) -> None:
    """Write the world of a seed with a number of pictures to a new folder."""
    texts = {
        code: Texts(code, size, names[code], _named(gallery, names[code]), world.texts)
        for code, size in world.languages.items()
    }
    rows = list(_pictures(world, gallery, texts, pictures, seed))
    _write_site(world, gallery, rows, out / "site", seed)
    _write_crawl(world, rows, out / "crawl", seed)
    write_jsonl(out / "pictures.jsonl", rows)
    write_sources(world, names, gallery.concepts, out)
    _write_held_out(world, gallery, out / "heldout", texts)
    classes = {
        code: {concept: [name.name] for concept, name in names[code].items() if concept in gallery.held_out}
        for code in names
    }
    write_json(out / "classes.json", {"languages": classes})
    write_json(out / "separation.json", [_removed(*pair) for pair in gallery.removed])


def base_url(world: World, seed: int) -> str:
    """Return the address of the site of a seed; image ids depend on it."""
    return f"http://{HOST}:{world.site.port + seed}"


def _named(gallery: Gallery, names: Mapping[str, Name]) -> list[str]:
    return [concept for concept in gallery.concepts if concept in names]


def _pictures(
    world: World, gallery: Gallery, texts: Mapping[str, Texts], pictures: int, seed: int
) -> Iterable[dict[str, Any]]:
    """Yield a row per picture, language by language."""
    total = sum(size.share for size in world.languages.values())
    number = 0
    for code, size in world.languages.items():
        rng = Random(f"{seed}|pictures|{code}")
        for _ in range(max(1, round(pictures * size.share / total))):
            concept = texts[code].concept(rng)
            artwork = rng.choice(gallery.trained[concept])
            scene = rng.choice(SCENES)
            text, kind = texts[code].on_page(rng, concept, scene)
            yield {
                "path": f"{number // FOLDER_SIZE:03}/{number:07}.jpg",
                "lang": code,
                "text": text,
                "kind": kind,
                "scene": scene,
                **_source(world, artwork),
            }
            number += 1


def _source(world: World, artwork: Artwork) -> dict[str, str]:
    """Return the columns about the artwork in a picture."""
    artist = world.styles[artwork.style].artist
    return {"concept": artwork.concept, "style": artwork.style, "artist": artist, "artwork_sha256": artwork.sha256}


def _write_site(world: World, gallery: Gallery, rows: Sequence[Mapping[str, Any]], folder: Path, seed: int) -> None:
    artwork = {(art.concept, art.style): art for arts in gallery.trained.values() for art in arts}
    for row in rows:
        path = folder / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = Random(f"{seed}|{row['path']}")
        path.write_bytes(encode(compose(rng, artwork[row["concept"], row["style"]], row["scene"], world.site)))


def _write_crawl(world: World, rows: Iterable[Mapping[str, Any]], folder: Path, seed: int) -> None:
    """Write the pages, each with pictures of one language, to crawl files in random order."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, url, pages = Random(f"{seed}|pages"), base_url(world, seed), list[Page]()
    by_language: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_language.setdefault(row["lang"], []).append(row)
    for code, of_language in by_language.items():
        remaining = iter(of_language)
        while shown := list(islice(remaining, rng.randint(*world.site.pictures_per_page))):
            links = tuple(Link(f"{url}/{row['path']}", {"alt": row["text"]}) for row in shown)
            pages.append(Page(f"{url}/{code}/{len(pages):06}.html", code, f"{code} {len(pages)}", None, links))
    rng.shuffle(pages)
    for part, first in enumerate(range(0, len(pages), world.site.pages_per_file)):
        path = folder / f"part-{part:05}.warc.wat.gz"
        write_wat(path, pages[first : first + world.site.pages_per_file], BATCH, Random(f"{seed}|wat|{part}"))


def _write_held_out(world: World, gallery: Gallery, folder: Path, texts: Mapping[str, Texts]) -> None:
    """Write pictures of held-out artwork with labels, and captions of one picture of each concept."""
    folder.mkdir(parents=True, exist_ok=True)
    labels, images = [], list[str]()
    captions: dict[str, list[list[str]]] = {code: [] for code in world.evaluation.retrieval}
    for concept in sorted(gallery.held_out):
        for artwork in gallery.held_out[concept]:
            for number in range(world.evaluation.pictures):
                rng = Random(f"{world.evaluation.seed}|heldout|{concept}|{artwork.style}|{number}")
                scene, name = rng.choice(SCENES), f"{concept}-{artwork.style}-{number}.jpg"
                (folder / name).write_bytes(encode(compose(rng, artwork, scene, world.site)))
                labels.append({"image": name, "label": concept, "scene": scene, **_source(world, artwork)})
        rng = Random(f"{world.evaluation.seed}|captions|{concept}")
        chosen = rng.choice([row for row in labels if row["label"] == concept])
        images.append(chosen["image"])
        for code, listed in captions.items():
            listed.append(texts[code].captions(rng, concept, chosen["scene"]))
    write_jsonl(folder / "labels.jsonl", labels)
    write_json(folder / "captions.json", {"images": images, "captions": captions})


def _removed(held_out: Artwork, trained: Artwork) -> dict[str, str]:
    return {
        "concept": held_out.concept,
        "style": held_out.style,
        "artwork_sha256": held_out.sha256,
        "like_concept": trained.concept,
        "like_style": trained.style,
        "like_sha256": trained.sha256,
    }


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
