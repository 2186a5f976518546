from __future__ import annotations

import io
import json
import tarfile

import pytest
from PIL import Image, ImageDraw

from proof.packages import integrity_of
from proof.settings import Package, World, read_world
from support.loopback import Answer, Loopback

CONCEPTS = {"1f408": "cat", "1f415": "dog", "1f3e0": "house", "2600": "sun", "1f5bc": "framed picture"}
STYLES = {"noto": "noto", "noto-v1": "noto-v1", "fluent-flat": "fluent-emoji-flat", "twemoji": "twemoji"}
SVG = '<path fill="{}" d="M{} {}h{}v{}z"/><circle cx="{}" cy="{}" r="{}" fill="{}"/>'


def tarball(files: dict[str, bytes]) -> bytes:
    """Return a package as the registry serves it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def icons(number: int, *, with_chars: bool) -> bytes:
    """Return an Iconify package in which every concept is another drawing."""
    bodies = {
        name: {"body": SVG.format("red", 3 * rank, 5, 20 + 5 * number, 30, 40, 60 - 8 * rank, 9 + 3 * number, "blue")}
        for rank, name in enumerate(CONCEPTS.values())
    }
    chars = CONCEPTS if with_chars else {}
    tone = {"1f408-1f3fb": "cat"} if with_chars else {}
    files = {"icons.json": {"width": 96, "height": 96, "icons": bodies}, "chars.json": {**chars, **tone}}
    return tarball({name: json.dumps(content).encode() for name, content in files.items()})


def folder_of_pictures() -> bytes:
    """Return a package with one WebP picture per concept."""
    files = {}
    for rank, code in enumerate(CONCEPTS):
        picture, out = Image.new("RGBA", (64, 64), (0, 0, 0, 0)), io.BytesIO()
        ImageDraw.Draw(picture).ellipse((4 * rank, 8, 40 + 4 * rank, 60 - 5 * rank), fill="green")
        picture.save(out, "WEBP", lossless=True)
        files[f"assets/{code}-fe0f.webp"] = out.getvalue()
    return tarball(files)


def annotations(folder: str, code: str) -> dict[str, bytes]:
    names = {
        chr(int(point, 16)): {"tts": [f"{name}"], "default": [name, f"{name}s", "thing"]}
        for point, name in CONCEPTS.items()
    }
    return {f"{folder}/{code}/annotations.json": json.dumps({folder: {"annotations": names}}).encode()}


def published() -> dict[str, bytes]:
    """Return the content of every package by its key in the parameters."""
    return {
        "noto": icons(0, with_chars=True),
        "noto-v1": icons(1, with_chars=False),
        "fluent-flat": icons(2, with_chars=True),
        "fluent-3d": folder_of_pictures(),
        "twemoji": icons(3, with_chars=True),
        "openmoji": icons(4, with_chars=True),
        "cldr": tarball(annotations("annotations", "en") | annotations("annotations", "de")),
        "cldr-derived": tarball({"annotationsDerived/en/annotations.json": b'{"annotationsDerived": {}}'}),
        "wordnet": tarball({"dict/index.noun": b"cat n 1 1 @ 1 1 00001740  \n", "dict/index.sense": b""}),
    }


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry on loopback with small packages; `parameters` are those of the proof with these packages."""
    packages = published()
    addresses = {}
    world = read_world()
    listed = {}
    for key, package in world.packages.items():
        integrity = integrity_of(packages[key])
        listed[key] = Package(package=package.package, version="1.0.0", integrity=integrity, license=package.license)
        name = package.package.rpartition("/")[2]
        addresses[f"/{package.package}/-/{name}-1.0.0.tgz"] = packages[key]
    server = Loopback(
        lambda request: Answer(body=addresses[request.path]) if request.path in addresses else Answer(404)
    )
    monkeypatch.setenv("npm_config_registry", server.url)
    monkeypatch.setenv("WORLDCURATE_CACHE", str(tmp_path / "cache"))
    languages = {code: world.languages[code] for code in ("en", "de")}
    server.parameters = world.model_copy(
        update={
            "packages": listed,
            "languages": languages,
            "near_radius": 0,
            "evaluation": world.evaluation.model_copy(update={"retrieval": ["en"]}),
            "metadata": world.metadata.model_copy(update={"words": 50}),
        }
    )
    yield server
    server.close()


@pytest.fixture
def parameters(registry) -> World:
    return registry.parameters
