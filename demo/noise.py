"""Add the noise of the real web: unusual spellings of URLs, useless and damaged texts, broken targets."""

from __future__ import annotations

from random import Random

SPAM = (
    "Buy cheap watches online, best price, free shipping",
    "Best online casino bonus, play now and win",
    "Lose weight fast with this simple trick",
    "Cheap flights and hotels, click here to book",
    "Compra relojes baratos en línea con envío gratis",
    "Billige Uhren online kaufen, kostenloser Versand",
    "Купить дешёвые часы онлайн, бесплатная доставка",
    "网上购买便宜手表，免费送货",
)
PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
BANNERS = 12
SLOW_EVERY = 120


def links(rng: Random, night: str, number: int) -> list[tuple[str, dict[str, str]]]:
    """Return references that do not lead to a picture: advertisements, data: URIs, unsupported schemes."""
    references: list[tuple[str, dict[str, str]]] = []
    if rng.random() < 0.15:
        references.append((f"/static/banner-{rng.randrange(BANNERS):02}.png", {"alt": rng.choice(SPAM)}))
    if rng.random() < 0.1:
        references.append((PIXEL, {"alt": "loading"}))
    if rng.random() < 0.05:
        references.append((f"ftp://files.example.org/{night}/{number}.jpg", {"alt": "photo archive"}))
    if rng.random() < 0.04:
        references.append((f"http://[broken/{number}.jpg", {"alt": "photo"}))
    if rng.random() < 0.2:
        references.append(("/static/button.png", {"alt": "OK", "title": " \t "}))
    return references


def broken_targets(rng: Random, base_url: str, night: str, number: int) -> list[str]:
    """Return URLs that look like pictures but cannot be fetched: missing, truncated, not an image, too slow."""
    urls = []
    if rng.random() < 0.06:
        urls.append(f"{base_url}/missing/{night}-{number}.jpg")
    if rng.random() < 0.05:
        urls.append(f"{base_url}/broken/cut-{night}-{number}.png")
    if rng.random() < 0.05:
        urls.append(f"{base_url}/broken/page-{night}-{number}.jpg")
    if number % SLOW_EVERY == SLOW_EVERY // 2:
        urls.append(f"{base_url}/slow/{night}-{number}.png")
    return urls


def spell_url(rng: Random, base_url: str, path: str, base: str | None) -> str:
    """Return one spelling of the URL of a picture on the same site: absolute, relative, or unusual but equivalent."""
    host = base_url.partition("//")[2]
    name = path.rpartition("/")[2]
    spellings = [
        f"{base_url}/{path}",
        f"/{path}",
        name if base else f"../../{path}",
        f"//{host}/{path}",
        f"HTTP://{host}/{path}#top",
        f"  {base_url}/{path}\n",
    ]
    return rng.choices(spellings, (30, 30, 30, 4, 3, 3))[0]


def damage_texts(rng: Random, texts: dict[str, str]) -> dict[str, str]:
    """Return the texts with the faults of real pages: sometimes empty, a file name, or with odd spacing."""
    draw = rng.random()
    if draw < 0.03:
        return {**texts, "alt": ""}
    if draw < 0.06:
        return {**texts, "alt": f"IMG_{rng.randrange(10_000):04}.jpg"}
    if draw < 0.09:
        return {name: "\n  " + text.replace(" ", "  ") + " " for name, text in texts.items()}
    return texts
