"""What makes the sample site look like the web: odd spellings of URLs, useless and spoiled texts, broken targets."""

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
    """Return image references that are no pictures of anything: advertisements, data: URIs, dead schemes."""
    found: list[tuple[str, dict[str, str]]] = []
    if rng.random() < 0.15:
        found.append((f"/static/banner-{rng.randrange(BANNERS):02}.png", {"alt": rng.choice(SPAM)}))
    if rng.random() < 0.1:
        found.append((PIXEL, {"alt": "loading"}))
    if rng.random() < 0.05:
        found.append((f"ftp://files.example.org/{night}/{number}.jpg", {"alt": "photo archive"}))
    if rng.random() < 0.04:
        found.append((f"http://[broken/{number}.jpg", {"alt": "photo"}))
    if rng.random() < 0.2:
        found.append(("/static/button.png", {"alt": "OK", "title": " \t "}))
    return found


def broken_targets(rng: Random, base_url: str, night: str, number: int) -> list[str]:
    """Return URLs that look like pictures but fail in the fetch: missing, cut short, not an image, too slow."""
    found = []
    if rng.random() < 0.06:
        found.append(f"{base_url}/missing/{night}-{number}.jpg")
    if rng.random() < 0.05:
        found.append(f"{base_url}/broken/cut-{night}-{number}.png")
    if rng.random() < 0.05:
        found.append(f"{base_url}/broken/page-{night}-{number}.jpg")
    if number % SLOW_EVERY == SLOW_EVERY // 2:
        found.append(f"{base_url}/slow/{night}-{number}.png")
    return found


def spell_url(rng: Random, base_url: str, path: str, base: str | None) -> str:
    """Return one of the ways a page refers to a picture of its own site: absolute, relative, odd but equal."""
    host = base_url.partition("//")[2]
    name = path.rpartition("/")[2]
    ways = [
        f"{base_url}/{path}",
        f"/{path}",
        name if base else f"../../{path}",
        f"//{host}/{path}",
        f"HTTP://{host}/{path}#top",
        f"  {base_url}/{path}\n",
    ]
    return rng.choices(ways, (30, 30, 30, 4, 3, 3))[0]


def spoil(rng: Random, texts: dict[str, str]) -> dict[str, str]:
    """Return the texts as a careless author leaves them: sometimes empty, a file name, or oddly spaced."""
    draw = rng.random()
    if draw < 0.03:
        return {**texts, "alt": ""}
    if draw < 0.06:
        return {**texts, "alt": f"IMG_{rng.randrange(10_000):04}.jpg"}
    if draw < 0.09:
        return {name: "\n  " + text.replace(" ", "  ") + " " for name, text in texts.items()}
    return texts
