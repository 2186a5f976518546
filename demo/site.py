"""Generate the website of the demo: pages in many languages with captioned pictures and the noise of real pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from random import Random

from demo import noise
from demo.frequencies import LARGE, Frequencies, Subject
from demo.words import languages

NIGHTS = ("2024-05-31", "2024-06-01")
PICTURES_PER_PAGE = (4, 8)

OLD_PICTURE, SAME_NIGHT_PICTURE = 0.12, 0.05  # probabilities that a page shows an earlier picture after a new one
WRONG_CAPTION, TITLE, DATA_TITLE = 0.02, 0.12, 0.05
SAVED_PAGE, PAGE_WITH_BASE = 0.02, 0.1


@dataclass(frozen=True)
class StoredImage:
    """A picture of the site: its path below the root, its subject, and the language and night of its first page."""

    path: str
    subject: Subject
    lang: str
    night: str


@dataclass(frozen=True)
class Link:
    """An image reference as written in a page, with its text attributes (alt, title, data-image-title)."""

    url: str
    texts: dict[str, str]


@dataclass(frozen=True)
class Page:
    """A page; `uri` is an absolute URL or, for pages saved to disk, not a web address."""

    uri: str
    lang: str
    title: str
    base: str | None
    links: tuple[Link, ...]

    def html(self) -> str:
        """Return the page as an HTML document."""
        base = f'<base href="{escape(self.base)}">' if self.base else ""
        images = "\n".join(
            f'<p><img src="{escape(link.url)}"'
            + "".join(f' {name}="{escape(text)}"' for name, text in link.texts.items())
            + "></p>"
            for link in self.links
        )
        return (
            f'<!doctype html>\n<html lang="{self.lang}"><head><meta charset="utf-8">{base}'
            f"<title>{escape(self.title)}</title></head>\n<body>\n{images}\n</body></html>\n"
        )


class Site:
    """The pages and pictures of a seed, served at `base_url`; call `night` once per night, in order."""

    def __init__(self, seed: int, base_url: str) -> None:
        self.seed = seed
        self.base_url = base_url
        self.pictures: list[StoredImage] = []
        rng = Random(f"{seed}|tastes")
        self._frequencies = {code: Frequencies(lang, rng) for code, lang in languages().items()}

    def mix(self, night: str) -> dict[str, float]:
        """Return the share of each language in the pictures of a night; it varies from night to night."""
        rng = Random(f"{self.seed}|mix|{night}")
        small = (1 - sum(LARGE.values())) / (len(languages()) - len(LARGE))
        shares = {code: LARGE.get(code, small) * rng.uniform(0.8, 1.25) for code in languages()}
        return {code: share / sum(shares.values()) for code, share in shares.items()}

    def night(self, night: str, pictures: int) -> list[Page]:
        """Return the pages of a night, which show about `pictures` new pictures and some older ones."""
        rng = Random(f"{self.seed}|pages|{night}")
        earlier = tuple(self.pictures)
        pages: list[Page] = []
        for code, share in self.mix(night).items():
            remaining = round(share * pictures)
            while remaining > 0:
                shown = min(remaining, rng.randint(*PICTURES_PER_PAGE))
                remaining -= shown
                pages.append(self._page(rng, code, night, len(pages), shown, earlier))
        rng.shuffle(pages)
        return pages

    def _page(
        self, rng: Random, code: str, night: str, number: int, shown: int, earlier: Sequence[StoredImage]
    ) -> Page:
        frequencies = self._frequencies[code]
        base = rng.choice((f"{self.base_url}/pictures/", "/pictures/")) if rng.random() < PAGE_WITH_BASE else None
        links = [Link("/static/logo.png", {"alt": "logo"}), Link("/static/spacer.gif", {"alt": ""})]
        for _ in range(shown):
            picture = self._new_picture(rng, code, night)
            links.append(self._picture_link(rng, frequencies, picture, base))
            if earlier and rng.random() < OLD_PICTURE:
                links.append(self._picture_link(rng, frequencies, rng.choice(earlier), base))
            elif rng.random() < SAME_NIGHT_PICTURE:
                links.append(self._picture_link(rng, frequencies, rng.choice(self.pictures), base))
        links += [Link(url, texts) for url, texts in noise.links(rng, night, number)]
        links += [
            Link(url, {"alt": frequencies.caption(rng, frequencies.subject(rng))})
            for url in noise.broken_targets(rng, self.base_url, night, number)
        ]
        rng.shuffle(links)
        saved = rng.random() < SAVED_PAGE
        return Page(
            uri=f"hard::saved-{number:03}.html" if saved else f"{self.base_url}/{code}/{night}/page-{number:03}.html",
            lang=code,
            title=f"{languages()[code].album} {number}",
            base=base,
            links=tuple(links),
        )

    def _new_picture(self, rng: Random, code: str, night: str) -> StoredImage:
        suffix = rng.choice(("png", "jpg"))
        path = f"pictures/{len(self.pictures):05}.{suffix}"
        picture = StoredImage(path, self._frequencies[code].subject(rng), code, night)
        self.pictures.append(picture)
        return picture

    def _picture_link(self, rng: Random, frequencies: Frequencies, picture: StoredImage, base: str | None) -> Link:
        subject = frequencies.subject(rng) if rng.random() < WRONG_CAPTION else picture.subject
        texts = {"alt": frequencies.caption(rng, subject)}
        if rng.random() < TITLE:
            texts["title"] = frequencies.caption(rng, subject)
        if rng.random() < DATA_TITLE:
            texts["data-image-title"] = frequencies.caption(rng, subject)
        return Link(noise.spell_url(rng, self.base_url, picture.path, base), noise.damage_texts(rng, texts))
