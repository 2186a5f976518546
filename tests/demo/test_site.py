from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from demo.frequencies import LARGE
from demo.site import NIGHTS, Site
from demo.words import languages

BASE = "http://127.0.0.1:18000"


@pytest.fixture(scope="module")
def site():
    generated = Site(11, BASE)
    return generated, {night: generated.night(night, 900) for night in NIGHTS}


def captions(pages):
    return [(page.lang, link.texts["alt"]) for page in pages for link in page.links if "alt" in link.texts]


def test_a_seed_determines_the_site_and_seeds_differ(site):
    first, nights = site
    again, other = Site(11, BASE), Site(12, BASE)
    assert {night: again.night(night, 900) for night in NIGHTS} == nights
    assert again.pictures == first.pictures
    assert other.night(NIGHTS[0], 900) != nights[NIGHTS[0]]
    assert other.mix(NIGHTS[0]) != first.mix(NIGHTS[0])


def test_nights_differ_in_languages_and_share_pictures(site):
    generated, nights = site
    mixes = [generated.mix(night) for night in NIGHTS]
    assert mixes[0] != mixes[1]
    assert all(sum(mix.values()) == pytest.approx(1) and set(mix) == set(languages()) for mix in mixes)
    shown = [shown_pictures(pages) for pages in nights.values()]
    assert len(shown[0] & shown[1]) > 30
    assert len(shown[1] - shown[0]) > 700


def shown_pictures(pages):
    links = [(page, link.url.strip()) for page in pages for link in page.links if "[" not in link.url]
    urls = {urljoin(urljoin(page.uri, page.base), url) for page, url in links}
    return {url for url in urls if url.startswith(f"{BASE}/pictures/")}


def test_english_is_the_largest_language_and_has_a_heavy_head(site):
    _, nights = site
    texts = captions(nights[NIGHTS[0]])
    volume = Counter(lang for lang, _ in texts)
    assert volume.most_common(1)[0][0] == "en"
    assert set(LARGE) > {lang for lang, _ in volume.most_common(4)}
    english = Counter(text for lang, text in texts if lang == "en" and " " in text)
    polish = Counter(text for lang, text in texts if lang == "pl" and " " in text)
    assert head_share(english) > 0.4 > head_share(polish)


def head_share(texts):
    return sum(count for _, count in texts.most_common(2)) / texts.total()


def test_pages_carry_the_noise_of_the_web(site):
    _, nights = site
    links = [link for pages in nights.values() for page in pages for link in page.links]
    urls, alts = [link.url for link in links], [link.texts.get("alt", "") for link in links]
    for start in ("data:", "ftp:", "http://[", "//", "HTTP:", "../../", "/"):
        assert any(url.startswith(start) for url in urls), start
    for part in ("/missing/", "/broken/cut-", "/broken/page-", "/slow/"):
        assert any(part in url for url in urls), part
    assert "logo" in alts
    assert "" in alts
    assert any(alt.startswith("IMG_") for alt in alts)
    assert any("Buy cheap" in alt for alt in alts)
    pages = [page for night in nights.values() for page in night]
    assert any(page.uri.startswith("hard::") for page in pages)
    assert any(page.base for page in pages)
    assert any(not page.base for page in pages)
    assert max(Counter(captions(pages)).values()) > 20


def test_the_html_of_a_page_has_its_base_and_links(site):
    _, nights = site
    for page in nights[NIGHTS[0]][:30]:
        reader = Reader()
        reader.feed(page.html())
        assert reader.base == page.base
        assert reader.images == [{"src": link.url, **link.texts} for link in page.links]


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.base = None
        self.images = []

    def handle_starttag(self, tag, attrs):
        if tag == "base":
            self.base = dict(attrs)["href"]
        elif tag == "img":
            self.images.append(dict(attrs))
