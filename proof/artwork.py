"""Artwork of emoji by style: pictures of 96 pixels with transparency, and the hash of the source of each.

Two kinds of packages are read: Iconify's `icons.json`, which has SVG bodies by name and, in `chars.json`, the name of
each code point; and folders of WebP pictures named by code points. A concept is a sequence of code points without
variation selectors and skin tones, such as `1f408-200d-2b1b`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import resvg_py
from PIL import Image

from curation.images.codec.phash import phash
from proof.packages import members, read_member
from proof.settings import World

SIDE = 96
VARIATION = "fe0f"
SKIN_TONES = {f"{code:x}" for code in range(0x1F3FB, 0x1F400)}


@dataclass(frozen=True)
class Artwork:
    """A concept drawn in a style: the SHA-256 of its source, and the picture (RGBA, 96 x 96)."""

    concept: str
    style: str
    sha256: str
    picture: Image.Image

    @property
    def phash(self) -> str:
        """The perceptual hash of the picture on white."""
        white = Image.new("RGBA", self.picture.size, "white")
        return phash(Image.alpha_composite(white, self.picture).convert("RGB"))


@dataclass(frozen=True)
class Gallery:
    """All artwork that the proof uses, by concept and style.

    Attributes:
        trained: concept -> artwork of the styles on pages.
        held_out: concept -> artwork of the styles that are only measured.
        removed: held-out artwork that looks like trained artwork, as (held-out artwork, trained artwork).
    """

    trained: Mapping[str, Sequence[Artwork]]
    held_out: Mapping[str, Sequence[Artwork]]
    removed: Sequence[tuple[Artwork, Artwork]]

    @property
    def concepts(self) -> list[str]:
        """All concepts, sorted."""
        return sorted(self.trained)


def concept_of(code_points: str) -> str | None:
    """Return the concept of code points such as `0023-fe0f-20e3`; None if one of them is a skin tone."""
    parts = [part.lower().lstrip("0") for part in code_points.split("-") if part.lower() != VARIATION]
    return None if SKIN_TONES & set(parts) else "-".join(parts)


def concept_of_text(text: str) -> str | None:
    """Return the concept of an emoji given as text."""
    return concept_of("-".join(f"{ord(char):x}" for char in text))


def read_gallery(world: World, named: set[str]) -> Gallery:
    """Read the artwork of all concepts that have a name, a picture by every artist, and one in every held-out style."""
    by_style = {style: dict(read_style(world, style, named)) for style in world.styles}
    concepts = set.intersection(
        named,
        *(set(by_style[style]) for style in world.held_out_styles),
        *(
            {
                concept
                for style in world.trained_styles
                if world.styles[style].artist == artist
                for concept in by_style[style]
            }
            for artist in {world.styles[style].artist for style in world.trained_styles}
        ),
    )
    drawn = {
        style: {
            concept: draw(concept, style, by_style[style][concept])
            for concept in sorted(concepts & by_style[style].keys())
        }
        for style in world.styles
    }
    trained = _by_concept(drawn, world.trained_styles)
    held_out, removed = separate(_by_concept(drawn, world.held_out_styles), trained, world.near_radius)
    return Gallery(trained, held_out, removed)


def _by_concept(drawn: Mapping[str, Mapping[str, Artwork]], styles: Sequence[str]) -> dict[str, list[Artwork]]:
    by_concept: dict[str, list[Artwork]] = {}
    for style in styles:
        for concept, artwork in drawn[style].items():
            by_concept.setdefault(concept, []).append(artwork)
    return by_concept


def separate(
    held_out: Mapping[str, Sequence[Artwork]], trained: Mapping[str, Sequence[Artwork]], radius: int
) -> tuple[dict[str, list[Artwork]], list[tuple[Artwork, Artwork]]]:
    """Return the held-out artwork that differs from all trained artwork, and the rest with its nearest trained one.

    Two pictures are the same if at most `radius` of the 64 bits of their perceptual hashes differ.
    """
    known = [(int(artwork.phash, 16), artwork) for artworks in trained.values() for artwork in artworks]
    different: dict[str, list[Artwork]] = {}
    removed = []
    for concept, artworks in held_out.items():
        for artwork in artworks:
            hashed = int(artwork.phash, 16)
            distance, nearest = min(((hashed ^ other).bit_count(), number) for number, (other, _) in enumerate(known))
            if distance <= radius:
                removed.append((artwork, known[nearest][1]))
            else:
                different.setdefault(concept, []).append(artwork)
    return different, removed


def read_style(world: World, style: str, named: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the concepts that have a name with the sources of their artwork: SVG or WebP."""
    package = world.packages[style]
    files = dict(members(package, "assets/"))
    if files:  # a folder of pictures
        for path, data in files.items():
            concept = concept_of(re.sub(r".*/|\.webp$", "", path))
            if path.endswith(".webp") and concept in named:
                yield concept, data
        return
    icons = json.loads(read_member(package, "icons.json"))
    chars = json.loads(read_member(world.packages[world.styles[style].names_of or style], "chars.json"))
    seen = set()
    for code_points, name in sorted(chars.items()):
        concept = concept_of(code_points)
        name = icons.get("aliases", {}).get(name, {}).get("parent", name)
        if concept in named and concept not in seen and name in icons["icons"]:
            seen.add(concept)
            yield concept, _svg(icons, icons["icons"][name])


def _svg(icons: Mapping[str, object], icon: Mapping[str, object]) -> bytes:
    """Return an icon of Iconify as an SVG document."""
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(key, icons.get(key, 16)) for key in ("width", "height"))
    box = f'viewBox="{left} {top} {width} {height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{icon["body"]}</svg>'.encode()


def draw(concept: str, style: str, source: bytes) -> Artwork:
    """Return the picture of an SVG or WebP source."""
    png = (
        resvg_py.svg_to_bytes(svg_string=source.decode(), width=SIDE, skip_system_fonts=True)
        if source[:1] == b"<"
        else source
    )
    picture = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    if picture.size != (SIDE, SIDE):
        picture = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return Artwork(concept, style, hashlib.sha256(source).hexdigest(), picture)
