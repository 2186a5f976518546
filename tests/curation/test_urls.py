from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urljoin

import ada_url
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curation.text import valid_unicode
from curation.urls import UrlError, effective_base, host, image_id, normalize_url

PAGE = "http://example.com/dir/page.html?q=1"
TEST_DATA = json.loads((Path(__file__).parent / "data" / "urltestdata.json").read_text(encoding="utf-8"))


def outcome(url, base):
    try:
        return normalize_url(url, base)
    except UrlError as error:
        return error.reason


def image_url_of(url, href):
    """Return our result for a URL that the standard serializes as `href`, or refuses (None)."""
    if url.startswith("data:") or (href and href.startswith("data:")):
        return "data_uri"
    if href is None:
        return "unresolvable"
    return href.partition("#")[0] if href.startswith(("http:", "https:")) else "scheme"


def test_the_public_test_data_of_the_standard_gives_its_results():
    assert len(TEST_DATA) == 820
    for url, base, href in TEST_DATA:
        assert outcome(url, base) == image_url_of(url, href), (url, base)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://example.com/a.jpg", "http://example.com/a.jpg"),
        ("  http://example.com/a.jpg\n", "http://example.com/a.jpg"),
        ("\x00\x1fhttp://example.com/a.jpg\x0b ", "http://example.com/a.jpg"),
        ("http://example.com/a b\tc\r\n.jpg", "http://example.com/a%20bc.jpg"),
        ("\xa0a.jpg\u3000", "http://example.com/dir/%C2%A0a.jpg%E3%80%80"),
        ("HTTP://EXAMPLE.com/A.JPG", "http://example.com/A.JPG"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("http://example.com:/a", "http://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("http://example.com:443/a", "http://example.com:443/a"),
        ("http://example.com/a#b#c", "http://example.com/a"),
        ("http://example.com/a?", "http://example.com/a?"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com?q", "http://example.com/?q"),
        ("http://bücher.example/ü?ü=ü", "http://xn--bcher-kva.example/%C3%BC?%C3%BC=%C3%BC"),
        ("https://straße.example/x.jpg", "https://xn--strae-oqa.example/x.jpg"),  # not strasse.example
        ("http://例え。テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ("http://example.com/%7e%C3%bc", "http://example.com/%7e%C3%bc"),  # escapes are kept unchanged
        ("http://example.com/a/../b/./c/%2e%2E/d", "http://example.com/b/d"),
        ('http://example.com/"<>{}|^`', "http://example.com/%22%3C%3E%7B%7D|%5E%60"),
        ("http://example.com/?\"<>{}|\\^`'", "http://example.com/?%22%3C%3E{}|\\^`%27"),
        ("\\img\\back.jpg", "http://example.com/img/back.jpg"),
        ("http:\\\\example.com\\a.jpg", "http://example.com/a.jpg"),
        ("http://Ann:Pass@EXAMPLE.com/", "http://Ann:Pass@example.com/"),
        ("http://[2001:DB8::1]:80/a", "http://[2001:db8::1]/a"),
        ("http://0x7f.1/a", "http://127.0.0.1/a"),
        ("http:///example.com/a", "http://example.com/a"),
        ("http://example.com/\ud83d", "http://example.com/%EF%BF%BD"),
        ("//cdn.example.com/a", "http://cdn.example.com/a"),
        ("/a/b.jpg", "http://example.com/a/b.jpg"),
        ("my photo.jpg", "http://example.com/dir/my%20photo.jpg"),
        ("../../../a.jpg", "http://example.com/a.jpg"),
        ("a//b/", "http://example.com/dir/a//b/"),
        ("?x", "http://example.com/dir/page.html?x"),
        ("", "http://example.com/dir/page.html?q=1"),
        ("#top", "http://example.com/dir/page.html?q=1"),
        ("http:a.jpg", "http://example.com/dir/a.jpg"),
        ("1:2.jpg", "http://example.com/dir/1:2.jpg"),
    ],
)
def test_urls_have_these_normal_forms(url, normal):
    assert normalize_url(url, PAGE) == normal


@pytest.mark.parametrize(
    ("url", "base", "reason"),
    [
        ("data:image/gif;base64,R0lGOD", PAGE, "data_uri"),
        ("  DATA:,x", PAGE, "data_uri"),
        ("\x01da\nta:,x", PAGE, "data_uri"),
        ("ftp://example.com/a", PAGE, "scheme"),
        ("blob:http://example.com/1", PAGE, "scheme"),
        ("javascript:void(0)", PAGE, "scheme"),
        ("a.jpg", None, "unresolvable"),
        ("//example.com/a", None, "unresolvable"),
        ("//:0", PAGE, "unresolvable"),
        ("http://", PAGE, "unresolvable"),
        ("http://user@/a", PAGE, "unresolvable"),
        ("http://example.com:http/a", PAGE, "unresolvable"),
        ("http://example.com:70000/a", PAGE, "unresolvable"),
        ("http://[::1/a", PAGE, "unresolvable"),
        ("http://a<b>/", PAGE, "unresolvable"),
        ("http://1.2.3.256/a", PAGE, "unresolvable"),
        ("http://a\u2100b.com/", PAGE, "unresolvable"),  # IDNA maps the character to a/c
    ],
)
def test_references_without_an_image_url_are_refused_with_a_reason(url, base, reason):
    assert outcome(url, base) == reason


segment = st.sampled_from(["a", "b.jpg", "..", ".", "%20", "c;d", "e=f", "x_y", "~g"])
paths = st.builds(
    lambda start, parts, end: start + "/".join(parts) + end,
    st.sampled_from(["", "/", "//h.example/", "https://h.example/"]),
    st.lists(segment, min_size=1, max_size=5),
    st.sampled_from(["", "?q=/../1", "/"]),
)
bases = st.builds(
    lambda scheme, parts, end: f"{scheme}://host.example/" + "/".join(parts) + end,
    st.sampled_from(["http", "https"]),
    st.lists(st.sampled_from(["a", "b", "c.html"]), max_size=4),
    st.sampled_from(["", "?q=/x"]),
)


@settings(deadline=None)
@given(paths, bases)
def test_resolving_relative_paths_agrees_with_urllib_if_no_segment_is_empty(path, base):
    assume("//" not in path)
    assume(urljoin(base, path).count("//") == 1)
    assert normalize_url(path, base) == urljoin(base, path)


PIECES = r"""http: https: HTTP: https://w.example/ // / a B .. . ? # @ : 80 443 :0 ü ß 。 ℀ İ % %2e %41 [ ] ::1 \ ' ^ `
" < > data: w.example 日本 xn-- {x} | 0x1f 1.2 - _ ~"""
SPACES_AND_MARKS = [" ", "\t", "\n", "\x0b", "\x00", "\xa0", "\u3000", "\u00ad", "\u0301", "\ud800"]
pieces = st.lists(st.sampled_from([*PIECES.split(), *SPACES_AND_MARKS]), max_size=9).map("".join)
wild = pieces | st.text(st.characters(exclude_categories=()), max_size=20)


@settings(deadline=None)
@given(wild, st.none() | bases)
def test_normalizing_is_idempotent(url, base):
    once = outcome(url, base)
    if once.startswith("http"):
        assert once.isascii()
        assert not set(once) & set(" \t\r\n#")
        assert once.startswith(("http://", "https://"))
        assert normalize_url(once, None) == once
        assert normalize_url(once, "http://other.example/") == once
        assert len(image_id(once)) == 24
        assert f"//{host(once)}" in once or f"@{host(once)}" in once


hosts = st.lists(st.sampled_from(["a", "0", "1f", "0x", "xn--", "-", ".", "b.example", "com"]), max_size=5).map("".join)
absolute = st.builds("{}://{}/{}".format, st.sampled_from(["http", "https"]), hosts, pieces)


@settings(deadline=None, max_examples=300)
@given(wild | paths | absolute, st.none() | bases)
def test_recognizing_normal_urls_gives_the_same_result_as_parsing_them(url, base):
    try:
        parsed = ada_url.URL(valid_unicode(url), base).href.partition("#")[0]
    except ValueError:
        parsed = "unresolvable"
    if parsed.startswith(("http:", "https:", "unresolvable")):
        assert outcome(url, base) == parsed


def test_an_image_id_is_the_first_24_digits_of_the_sha224():
    assert image_id("abc") == "23097d223405d8228642a477"  # FIPS 180-4's example
    assert image_id("http://example.com/a") == image_id(normalize_url("HTTP://Example.com:80/a#b", None))


@pytest.mark.parametrize(
    ("page", "href", "base"),
    [
        ("http://a.example/x/y", None, "http://a.example/x/y"),
        ("http://a.example/x/y", "", "http://a.example/x/y"),
        ("http://a.example/x/y", "/z/", "http://a.example/z/"),
        ("http://a.example/x/y", ".", "http://a.example/x/"),
        ("http://a.example/x/y", "https://b.example", "https://b.example/"),
        ("http://a.example/x/y", "javascript:1", "http://a.example/x/y"),
        ("http://a.example/x/y", "http://[", "http://a.example/x/y"),
        ("hard::a", None, None),
        ("hard::a", "/z/", None),
        ("hard::a", "https://b.example/", "https://b.example/"),
        ("", None, None),
    ],
)
def test_the_base_is_the_base_element_resolved_against_the_page(page, href, base):
    assert effective_base(page, href) == base


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://a.example/x@y", "a.example"),
        ("http://a.example?x@y", "a.example"),
        ("https://me:pw@a.example:8080/x", "a.example"),
        ("http://[::1]:8080/", "[::1]"),
        ("", ""),
    ],
)
def test_the_host_of_a_url_has_no_user_and_no_port(url, name):
    assert host(url) == name
