"""Attribute values with image URLs are read as the HTML standard says, compared with a literal copy of its steps."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.readers.html_attributes import srcset_urls, unescape


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        ("x.php?a=1&amp;b=2", "x.php?a=1&b=2"),
        ("x.php?a=1&#38;b=2&#x26;c=3&#X26c", "x.php?a=1&b=2&c=3ɬ"),
        ("a&amp;amp;b", "a&amp;b"),  # once
        ("?a=1&copy=2&region=3&para1&lt", "?a=1&copy=2&region=3&para1<"),
        ("?a&copy&not;&notit;&notin;", "?a©¬&notit;∉"),
        ("?a=1&b=2&&;&#;&#x;&unknown;", "?a=1&b=2&&;&#;&#x;&unknown;"),
        ("&AMP;&frac12;", "&½"),
    ],
)
def test_character_references_are_decoded_once_as_in_attributes(value, decoded):
    assert unescape(value) == decoded


@given(st.text(st.sampled_from("ab=&;#x1\"'<> é")), st.data())
def test_any_escaping_of_a_url_is_undone(url, data):
    named = {"&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;"}
    forms = [lambda c: f"&#{ord(c)};", lambda c: f"&#x{ord(c):x};", lambda c: named.get(c, c)]
    escaped = "".join(data.draw(st.sampled_from(forms if c == "&" else [*forms, str]))(c) for c in url)
    assert unescape(escaped) == url


@pytest.mark.parametrize(
    ("srcset", "urls"),
    [
        ("s.png 480w, l.png 1024w, m.png 800w", ["l.png", "m.png", "s.png"]),
        ("small.jpg 320w,\n   big.jpg 1280w", ["big.jpg", "small.jpg"]),
        ("one.jpg,\n two.jpg 2x", ["two.jpg", "one.jpg"]),
        ("a.jpg 2x,b.jpg 3x", ["b.jpg", "a.jpg"]),
        ("a,b.png 2x,  c.png", ["a,b.png", "c.png"]),
        ("https://c.example/w_1,h_2/a.jpg 1x, https://c.example/w_2,h_4/a.jpg 2x",
         ["https://c.example/w_2,h_4/a.jpg", "https://c.example/w_1,h_2/a.jpg"]),
        ("data:image/png;base64,AA 1x, b.png 2x", ["b.png", "data:image/png;base64,AA"]),
        ("a.png 100w 50h, b.png 1e2x", ["a.png", "b.png"]),
        ("a.png 5, b.png 1x 2x, c.png -1x, d.png 0w, e.png 5h, f.png ²x, g.png +1x, h.png 1w 1x", []),
        ("a.png (x, y) 2x, b.png", ["b.png"]),
        ("a.png (x, b.png", []),
        ("a.png\xa02x", ["a.png\xa02x"]),
        (" , ,", []),
        ("", []),
    ],
)  # fmt: skip
def test_a_srcset_gives_its_valid_urls_largest_first(srcset, urls):
    assert srcset_urls(srcset) == urls


SPACE = "\t\n\f\r "


def descriptors_by_the_steps_of_the_standard(text):
    """Return the descriptors at the start of a text, and the rest: HTML, "parse a srcset attribute", step 8."""
    descriptors, current, state = [], "", "in descriptor"
    for at, char in enumerate(text):
        if state == "in parens":
            current += char
            state = "in descriptor" if char == ")" else state
        elif char in SPACE:
            descriptors, current, state = [*descriptors, current], "", "after descriptor"
        elif char == "," and state == "in descriptor":
            return [*filter(None, [*descriptors, current])], text[at + 1 :]
        elif char == ",":  # after a descriptor the standard looks at the comma again, in a descriptor
            return [*filter(None, descriptors)], text[at + 1 :]
        else:
            current, state = current + char, "in parens" if char == "(" else "in descriptor"
    return [*filter(None, [*descriptors, current])], ""


def candidates_by_the_steps_of_the_standard(text):
    """Return (url, descriptors) of each candidate: steps 4 to 7."""
    found = []
    while text := text.lstrip(SPACE + ","):
        url = re.match(f"[^{SPACE}]+", text)[0]
        text = text[len(url) :]
        if url.endswith(","):
            found.append((url.rstrip(","), []))
        else:
            descriptors, text = descriptors_by_the_steps_of_the_standard(text)
            found.append((url, descriptors))
    return found


def size_by_the_steps_of_the_standard(descriptors):
    """Return the size of a candidate, None for an error: step 14, where h needs w and x stands alone."""
    width = density = height = None
    for descriptor in descriptors:
        number, unit = descriptor[:-1], descriptor[-1]
        if unit == "w" and number.isdigit() and int(number) and width is density is None:
            width = int(number)
        elif unit == "h" and number.isdigit() and int(number) and height is density is None:
            height = int(number)
        elif unit == "x" and number.strip("0123456789.") == "" != number and width is density is height is None:
            density = float(number)
        else:
            return None
    return None if height and not width else width or (1 if density is None else density)


srcset_pieces = st.sampled_from([*"aab,,, \t\n()", "1x", "2x", ".5x", "0x", "3w", "4w", "0w", "5h", " 2x ", " 3w "])


@given(st.lists(srcset_pieces, max_size=14).map("".join))
def test_srcsets_are_split_by_the_steps_of_the_standard(srcset):
    found = [
        (size, url)
        for url, descriptors in candidates_by_the_steps_of_the_standard(srcset)
        if (size := size_by_the_steps_of_the_standard(descriptors)) is not None
    ]
    assert srcset_urls(srcset) == [url for _, url in sorted(found, key=lambda candidate: -candidate[0])]


def test_a_long_srcset_takes_no_more_than_linear_time():
    for text in ("," * 200_000, "(" * 200_000, "a (" * 70_000, "a 1x," * 40_000):
        srcset_urls(text)
