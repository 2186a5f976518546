"""The sample site: pages in many languages that show drawn pictures with captions, among the noise real pages carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from random import Random

from demo import noise
from demo.tastes import LARGE, Subject, Taste
from demo.words import languages

NIGHTS = ("2024-05-31", "2024-06-01")
PICTURES_A_PAGE = (4, 8)

OLD_PICTURE, SAME_NIGHT_PICTURE = 0.12, 0.05  # shown again beside a new one
WRONG_CAPTION, TITLE, DATA_TITLE = 0.02, 0.12, 0.05
SAVED_PAGE, PAGE_WITH_BASE = 0.02, 0.1


@dataclass(frozen=True)
class StoredImage:
    """One drawn picture of the site: its path below the root, what it shows, and where it was shown first."""

    path: str
    subject: Subject
    lang: str
    night: str


@dataclass(frozen=True)
class Link:
    """One image reference as a page writes it, with its text attributes (alt, title, data-image-title)."""

    url: str
    texts: dict[str, str]


@dataclass(frozen=True)
class Page:
    """One page: `uri` is absolute or, for pages that were saved from disk, not a web address at all."""

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
    """The pages and pictures of one seed, served at `base_url`; call `night` once a night, in order."""

    def __init__(self, seed: int, base_url: str) -> None:
        self.seed = seed
        self.base_url = base_url
        self.pictures: list[StoredImage] = []
        rng = Random(f"{seed}|tastes")
        self._tastes = {code: Taste(lang, rng) for code, lang in languages().items()}

    def mix(self, night: str) -> dict[str, float]:
        """Return the share of each language in a night's pictures: the large ones lead, all vary."""
        rng = Random(f"{self.seed}|mix|{night}")
        small = (1 - sum(LARGE.values())) / (len(languages()) - len(LARGE))
        shares = {code: LARGE.get(code, small) * rng.uniform(0.8, 1.25) for code in languages()}
        return {code: share / sum(shares.values()) for code, share in shares.items()}

    def night(self, night: str, pictures: int) -> list[Page]:
        """Return a night's pages, which show about `pictures` new pictures and some of the earlier ones."""
        rng = Random(f"{self.seed}|pages|{night}")
        earlier = tuple(self.pictures)
        pages: list[Page] = []
        for code, share in self.mix(night).items():
            left = round(share * pictures)
            while left > 0:
                shown = min(left, rng.randint(*PICTURES_A_PAGE))
                left -= shown
                pages.append(self._page(rng, code, night, len(pages), shown, earlier))
        rng.shuffle(pages)
        return pages

    def _page(
        self, rng: Random, code: str, night: str, number: int, shown: int, earlier: Sequence[StoredImage]
    ) -> Page:
        taste = self._tastes[code]
        base = rng.choice((f"{self.base_url}/pictures/", "/pictures/")) if rng.random() < PAGE_WITH_BASE else None
        links = [Link("/static/logo.png", {"alt": "logo"}), Link("/static/spacer.gif", {"alt": ""})]
        for _ in range(shown):
            picture = self._new_picture(rng, code, night)
            links.append(self._picture_link(rng, taste, picture, base))
            if earlier and rng.random() < OLD_PICTURE:
                links.append(self._picture_link(rng, taste, rng.choice(earlier), base))
            elif rng.random() < SAME_NIGHT_PICTURE:
                links.append(self._picture_link(rng, taste, rng.choice(self.pictures), base))
        links += [Link(url, texts) for url, texts in noise.links(rng, night, number)]
        links += [
            Link(url, {"alt": taste.caption(rng, taste.subject(rng))})
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
        picture = StoredImage(path, self._tastes[code].subject(rng), code, night)
        self.pictures.append(picture)
        return picture

    def _picture_link(self, rng: Random, taste: Taste, picture: StoredImage, base: str | None) -> Link:
        subject = taste.subject(rng) if rng.random() < WRONG_CAPTION else picture.subject
        texts = {"alt": taste.caption(rng, subject)}
        if rng.random() < TITLE:
            texts["title"] = taste.caption(rng, subject)
        if rng.random() < DATA_TITLE:
            texts["data-image-title"] = taste.caption(rng, subject)
        return Link(noise.spell_url(rng, self.base_url, picture.path, base), noise.spoil(rng, texts))
