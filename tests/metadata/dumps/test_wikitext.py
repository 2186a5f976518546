from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metadata.dumps.namespaces import hidden_names
from metadata.dumps.wikitext import plain_text
from metadata.dumps.xml import iter_pages

EXAMPLES = {
    # links
    "[[Berlin]]": "Berlin",
    "the [[Berlin|capital]]s": "the capitals",
    "[[Berlin|]]": "Berlin",
    "[[:Category:Cities]]": "Category:Cities",
    "[[Star Wars: Episode IV]]": "Star Wars: Episode IV",
    "a[[de:Berlin]]b[[zh-min-nan:Berlin]]c[[be-x-old:Берлін]]d": "abcd",
    "see [https://example.org/a?b=c the page] now": "see the page now",
    "see [//example.org page] and https://example.org/x": "see page and",
    "[https://example.org]": "",
    # files and categories, in many languages
    "[[File:A.jpg|thumb|left|A [[dog|hound]] in [[Berlin]]]] text": "text",
    "[[Datei:A.jpg]][[Kategorie:B]][[Файл:A.jpg|мини|x]][[Категория:Б]]text": "text",
    "[[ملف:A.jpg]][[تصنيف:B]][[ไฟล์:A.jpg]][[หมวดหมู่:B]][[Tập tin:A.jpg]][[Thể loại:B]]text": "text",
    "[[category : B|*]] [[IMAGE:a.png]]text": "text",
    "[[Unheard of:A.svg|thumb|caption]]text": "text",
    # templates, tables, references, tags
    "a{{b|{{c|[[d]]}}|e}}f": "af",
    "a{{{1|b}}}c": "a}c",
    "{|class=x\n|-\n| a || b\n|}\nafter": "after",
    "x\n{|\n|-\n|\n{|\n| inner\n|}\n| outer\n|}\ny": "x\ny",
    ":{| \n| indented\n|}\ny": "y",
    "{{x|\n{|\n|a\n|}}}\ntext": "text",
    "a<ref name=x>b {{c}} [[d]]</ref>e<ref name=x />f": "aef",
    "a<!-- b [[ {{ -->c": "ac",
    "a<!-- never closed": "a",
    "<math>\\frac{a}{b}</math>x<gallery>\nA.jpg|b\n</gallery>y<timeline>t</timeline>z": "xyz",
    "H<sub>2</sub>O and <span style='x'>E</span><br/>line": "H2O and E\nline",
    "a<nowiki>[[b]] ''c'' {{d}} & e</nowiki>f": "a[[b]] ''c'' {{d}} & ef",
    "1 < 2 and 3 > 2": "1 < 2 and 3 > 2",
    # lines
    "== History ==\n=== The ''old'' town ===": "History\nThe old town",
    "* one\n** two\n# three\n; term\n: indented": "one\ntwo\nthree\nterm\nindented",
    "a\n----\nb\n__NOTOC__": "a\nb",
    # styles
    "'''Bold''' and ''italic'' and '''''both'''''": "Bold and italic and both",
    "L'''Iliade'' d'Homère": "L'Iliade d'Homère",
    "l'''amour''' et l''''eau''''": "lamour et l'eau'",
    "l'''amour": "lamour",
    "don't": "don't",
    # entities, invisible characters
    "a&nbsp;b &amp; &#8364; &lt;c&gt;": "a\xa0b & € <c>",
    "so\u00adft \u200emark\ufeff": "soft mark",
    # language conversion
    "-{zh-hans:计算机; zh-hant:電腦}-x": "计算机x",
    "-{plain}- -{A|zh-cn:甲;zh-tw:乙}- -{H|zh-cn:丙;zh-tw:丁}-": "plain 甲",
    # broken markup
    "a {{never closed [[b]] c": "a never closed b c",
    "a [[never closed ''b'' {{c}} d": "a never closed b  d",
    "{{a [[never closed }}b": "b",
    "a ]] b }} c\n|} d": "a  b  c\nd",
    "{|\n| never closed\ntext": "text",
    "a <ref>never closed": "a never closed",
    "a <ref>never closed <math>x</math>b": "a never closed b",
    "": "",
}


@pytest.mark.parametrize("wikitext", EXAMPLES)
def test_only_readable_text_is_left(wikitext):
    shown = "\n".join(line.strip() for line in plain_text(wikitext).splitlines())
    assert shown == EXAMPLES[wikitext]


def test_namespace_names_of_the_wiki_hide_links_too():
    own = hidden_names({0: "", 6: "Fails", 10: "Taiss", 14: "Kategoreja"})
    assert own == {"fails", "kategoreja"}
    assert plain_text("[[Kategoreja:A]]b", own) == "b"
    assert plain_text("[[Kategoreja:A]]b") == "Kategoreja:Ab"


OPENERS = (
    "{{",
    "[[",
    "[[a|",
    "{{a|b=",
    "{|\n|",
    "<ref>",
    "<ref name='",
    "<b>",
    "<a b='",
    "''",
    "'''a ''",
    "-{",
    "<!--",
)
CLOSERS = ("}}", "]]", "|}", "\n|}", "</ref>", "<nowiki>", "</nowiki>", "}-")
OTHERS = (
    "|",
    ":",
    "=",
    "\n",
    "== a ==\n",
    " ",
    "a",
    "File:",
    "http://x ",
    "[http://y ",
    "&amp;",
    "'",
    "_",
    "文",
    "\u200f",
    "\0",
)
PIECES = st.sampled_from((*OPENERS, *CLOSERS, *OTHERS))


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES | st.text(max_size=3), max_size=60).map("".join))
@example("== a ==\n\u200f")
def test_the_text_never_has_blank_lines(wikitext):
    text = plain_text(wikitext)
    if "&" not in wikitext and "nowiki" not in wikitext:
        assert all(line.strip() for line in text.split("\n")) or not text


@given(st.text(st.sampled_from("abc é文"), max_size=40))
def test_plain_text_is_unchanged(text):
    assert plain_text(text) == text.strip()


@pytest.mark.timeout(30)
@pytest.mark.parametrize("opener", [*OPENERS, "http://", "[http://a ", "[[File:x.png  ", "\n=", "* ''a\n", "<", "]]"])
def test_time_is_linear_in_the_length_of_adversarial_pages(opener):
    """Rescanning these 150,000 characters from every opener takes minutes; one scan takes a fraction of a second."""
    size = 150_000 // len(opener)
    plain_text(opener * size)
    for close in ("}}", "]]", "</ref>"):
        plain_text(opener * (size // 2) + close * (size // 2))


def test_real_pages_leave_no_markup(fixtures_dir):
    files = sorted(fixtures_dir.glob("wiki-minidumps/dump/src/test/resources/minidumps/*/wiki.xml.bz2"))
    leftovers = re.compile(r"\{\{|\}\}|\[\[|\]\]|\|thumb|thumb\||</?ref|\{\||'''|^\s*[=*#]", re.MULTILINE)
    seen = 0
    for file in files:
        with file.open("rb") as stream:
            for page in iter_pages(stream, str(file)):
                if page.namespace or page.is_redirect or file.parent.name.startswith(("wikidata", "commons")):
                    continue
                text = plain_text(page.text)
                assert text, (file.parent.name, page.title)
                seen += 1
                assert not leftovers.search(text), (file.parent.name, page.title)
    assert seen > 120


def test_mwparserfromhell_finds_the_same_words_in_real_pages(fixtures_dir):
    """mwparserfromhell keeps more: category names, image options and captions, the words of tables."""
    mwparserfromhell = pytest.importorskip(
        "mwparserfromhell", reason="mwparserfromhell, of the extra bench, is missing"
    )
    english = fixtures_dir / "wiki-gensim" / "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
    files = [english, *sorted(fixtures_dir.glob("wiki-minidumps/dump/src/test/resources/minidumps/*/wiki.xml.bz2"))]
    ours, theirs, both = 0, 0, 0
    for file in files:
        own, other = Counter(), Counter()
        with file.open("rb") as stream:
            pages = [page.text for page in iter_pages(stream, str(file)) if not page.namespace and not page.is_redirect]
        for text in [text for text in pages if len(text) < 60_000][:40]:
            own.update(re.findall(r"\w+", plain_text(text)))
            other.update(re.findall(r"\w+", mwparserfromhell.parse(text).strip_code()))
        ours, theirs, both = ours + own.total(), theirs + other.total(), both + (own & other).total()
    assert both > 0.999 * ours
    assert both > 0.85 * theirs
