"""Write the sources of the metadata: small Wikipedia dumps, hourly page views and wordnet files, in the real formats.

The files have the impurities of real ones: redirects, talk pages, templates and tables in the dumps; sister projects,
mobile lines, special pages and malformed lines in the page views; definitions in the wordnet files.
"""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Iterator
from pathlib import Path
from random import Random
from xml.sax.saxutils import escape

from demo.words import KINDS, SCENES, Language, languages

VILLAGES = 45
HOURS = 3
PROJECTS = {"cmn": "cow", "ind": "msa", "spa": "mcr"}  # Open Multilingual Wordnet folders with other names
_NAMESPACES = {-1: "Special", 0: "", 1: "Talk", 6: "File", 10: "Template", 14: "Category"}


def write_dump(folder: Path, lang: Language, seed: int) -> tuple[Path, list[str]]:
    """Write a Wikipedia dump, compressed for every second language; return its path and the titles of its articles."""
    rng = Random(f"{seed}|dump|{lang.code}")
    articles = dict(_articles(lang, rng))
    pages = [_page_xml(number, title, 0, text) for number, (title, text) in enumerate(articles.items(), 1)]
    first = next(iter(articles))
    pages.append(_page_xml(9001, f"{first} 2", 0, f"#REDIRECT [[{first}]]", redirect=first))
    pages.append(_page_xml(9002, f"Talk:{first}", 1, "Talk talk talk talk."))
    pages.append(_page_xml(9003, "Template:Place", 10, "{{{1}}} boilerplate boilerplate"))
    xml = _siteinfo(lang) + "".join(pages) + "</mediawiki>\n"
    compressed = sorted(languages()).index(lang.code) % 2 == 0
    path = folder / f"{lang.code}wiki-20240501-pages-articles.xml{'.bz2' if compressed else ''}"
    path.write_bytes(bz2.compress(xml.encode()) if compressed else xml.encode())
    return path, list(articles)


def write_pageviews(folder: Path, titles: dict[str, list[str]], seed: int) -> None:
    """Write hourly page-view files (`domain_code title count bytes`) for the titles of every language."""
    for hour in range(HOURS):
        rng = Random(f"{seed}|views|{hour}")
        lines = ["- - 3 0", "en.b Cookbook:Apple 4 0", "commons.m File:Sun.svg 12 0", "en.d umbrella 7 0", "broken"]
        for code, names in titles.items():
            lines += [f"{code} Special:Search 40 0", f"{code} - 11 0", f"{code} File:Logo.png 5 0"]
            for rank, title in enumerate(names, 1):
                views = rng.randint(1, 4 + 200 // rank)
                lines.append(f"{code} {title.replace(' ', '_')} {views} 0")
                if rng.random() < 0.5:
                    lines.append(f"{code}.m {title.replace(' ', '_')} {views * 2} 0")
        text = "\n".join(sorted(lines)) + "\n"
        path = folder / f"pageviews-20240501-{hour:02}0000.gz"
        path.write_bytes(gzip.compress(text.encode(), mtime=0))


def write_wordnets(folder: Path, seed: int) -> None:
    """Write `omw/<project>/wn-data-<code>.tab` for every language with a wordnet, and `dict/index.noun` for English."""
    rng = Random(f"{seed}|wordnet")
    for lang in languages().values():
        if lang.wordnet == "eng":
            (folder / "dict").mkdir(parents=True)
            (folder / "dict" / "index.noun").write_text(_princeton_index(lang), encoding="utf-8")
        elif lang.wordnet:
            project = folder / "omw" / PROJECTS.get(lang.wordnet, lang.wordnet)
            project.mkdir(parents=True)
            tab = project / f"wn-data-{lang.wordnet}.tab"
            tab.write_text(_tab(lang, lang.wordnet, rng), encoding="utf-8")


def _articles(lang: Language, rng: Random) -> Iterator[tuple[str, str]]:
    """Yield (title, wikitext): one article per kind and common word, and many about invented villages."""
    names = [lang.invented_name(rng) for _ in range(VILLAGES)]
    for word in [*(lang.nouns[kind].word for kind in KINDS), *lang.common]:
        yield word[0].upper() + word[1:], _word_article(lang, word, names, rng)
    for name in names:
        yield name, _village_article(lang, name, names, rng)


def _word_article(lang: Language, word: str, names: list[str], rng: Random) -> str:
    sentences = [text.format(word=word, number=rng.randint(1, 300), year=_year(rng)) for text in lang.words]
    sentences += rng.choices(lang.extras, k=2)
    rng.shuffle(sentences)
    return f"'''{word}''' {lang.space.join(sentences)}\n\n== {word} ==\n* [[{rng.choice(names)}]]\n[[Category:Words]]"


def _village_article(lang: Language, name: str, names: list[str], rng: Random) -> str:
    facts = [
        text.format(name=name, other=f"[[{rng.choice(names)}]]", number=rng.randint(30, 9999), year=_year(rng))
        for text in lang.places
    ]
    captions = [
        lang.caption(rng.randrange(len(lang.captions)), rng.choice(KINDS), rng.choice(SCENES)) for _ in range(8)
    ]
    table = '{| class="wikitable"\n! a !! b\n|-\n| 1 || 2\n|}\n'
    box = f"{{{{Infobox place|name={name}|image=Logo.png}}}}\n"
    picture = f"[[File:Map of {name}.png|thumb|{name}]]\n"
    return (
        f"{box}{picture}{lang.space.join(facts)}<ref>{name} {_year(rng)}</ref>\n\n"
        f"{lang.space.join(captions)}\n\n{table}[[Category:Places]]"
    )


def _year(rng: Random) -> int:
    return rng.randint(1200, 1999)


def _siteinfo(lang: Language) -> str:
    spaces = "".join(
        f'      <namespace key="{key}" case="first-letter">{name}</namespace>\n' for key, name in _NAMESPACES.items()
    )
    return (
        '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" version="0.10" '
        f'xml:lang="{lang.code}">\n  <siteinfo>\n    <sitename>Wikipedia</sitename>\n'
        f"    <dbname>{lang.code}wiki</dbname>\n    <base>https://{lang.code}.wikipedia.org/wiki/</base>\n"
        f"    <case>first-letter</case>\n    <namespaces>\n{spaces}    </namespaces>\n  </siteinfo>\n"
    )


def _page_xml(number: int, title: str, namespace: int, text: str, redirect: str | None = None) -> str:
    target = f'    <redirect title="{escape(redirect)}" />\n' if redirect else ""
    return (
        f"  <page>\n    <title>{escape(title)}</title>\n    <ns>{namespace}</ns>\n    <id>{number}</id>\n{target}"
        f"    <revision>\n      <id>{number}</id>\n      <model>wikitext</model>\n      <format>text/x-wiki</format>\n"
        f'      <text xml:space="preserve">{escape(text)}</text>\n    </revision>\n  </page>\n'
    )


def _tab(lang: Language, code: str, rng: Random) -> str:
    """Return an OMW file: a header, rows `offset-pos TAB code:lemma TAB word`, and some definitions."""
    rows = [f"# {lang.name} sample\t{code}\thttp://example.org/\tCC0"]
    for number, word in enumerate([*(lang.nouns[kind].word for kind in KINDS), *lang.common], 1):
        synset = f"{number * 1740:08}-n"
        rows.append(f"{synset}\t{code}:lemma\t{word}")
        if rng.random() < 0.2:
            rows.append(f"{synset}\t{code}:def\t0\t{lang.words[0].format(word=word)}")
    return "\n".join(rows) + "\n"


def _princeton_index(lang: Language) -> str:
    """Return a Princeton `index.noun`: license lines start with two spaces; lemmas are lower case, `_` is a space."""
    words = sorted({*(lang.nouns[kind].word for kind in KINDS), *lang.common, "logo", "watch", "flight", "bonus"})
    lemmas = "".join(f"{word.replace(' ', '_')} n 1 1 @ 1 1 {1740 * i:08}  \n" for i, word in enumerate(words, 1))
    return f"  1 A sample in the format of WordNet's index files.  \n{lemmas}"
