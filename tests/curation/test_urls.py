from __future__ import annotations

from urllib.parse import urljoin

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curation.urls import UrlError, effective_base, host, image_id, normalize_url

PAGE = "http://example.com/dir/page.html?q=1#part"


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://example.com/a.jpg", "http://example.com/a.jpg"),
        ("  http://example.com/a.jpg\n", "http://example.com/a.jpg"),
        ("\xa0\x0bhttp://example.com/a.jpg\x0b\u3000", "http://example.com/a.jpg"),
        ("http://example.com/a\x0b#b", "http://example.com/a"),
        ("http://example.com/a b\tc\r\n.jpg", "http://example.com/abc.jpg"),
        ("HTTP://EXAMPLE.com/A.JPG", "http://example.com/A.JPG"),
        ("https://example.com:443/a", "https://example.com/a"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("http://example.com:/a", "http://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("http://example.com:443/a", "http://example.com:443/a"),
        ("http://example.com/a#b#c", "http://example.com/a"),
        ("http://example.com/a?", "http://example.com/a?"),
        ("http://example.com", "http://example.com"),
        ("http://example.com?q", "http://example.com?q"),
        ("http://bücher.example/ü?ü=ü", "http://xn--bcher-kva.example/%C3%BC?%C3%BC=%C3%BC"),
        ("http://例え。テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ("http://example.com/%7e%C3%bc", "http://example.com/%7e%C3%bc"),  # escapes are kept unchanged
        ("http://example.com/a/../b/./c", "http://example.com/a/../b/./c"),
        ('http://example.com/"<>{}|\\^`', 'http://example.com/"<>{}|\\^`'),
        ("http://Ann:Pass@EXAMPLE.com/", "http://Ann:Pass@example.com/"),
        ("http://[2001:DB8::1]:80/a", "http://[2001:db8::1]/a"),
        ("http://example.com/\ud83d", "http://example.com/%EF%BF%BD"),
        ("//cdn.example.com/a", "http://cdn.example.com/a"),
        ("/a/b.jpg", "http://example.com/a/b.jpg"),
        ("a.jpg", "http://example.com/dir/a.jpg"),
        ("./a.jpg", "http://example.com/dir/a.jpg"),
        ("../../../a.jpg", "http://example.com/a.jpg"),
        ("a//b/", "http://example.com/dir/a//b/"),
        ("..", "http://example.com/"),
        ("?x", "http://example.com/dir/page.html?x"),
        ("", "http://example.com/dir/page.html?q=1"),
        ("#top", "http://example.com/dir/page.html?q=1"),
        ("http:a.jpg", "http://example.com/dir/a.jpg"),
        ("1:2.jpg", "http://example.com/dir/1:2.jpg"),
        (". ./a", "http://example.com/a"),
        ("https://:0", "https://:0"),
    ],
)
def test_urls_have_these_normal_forms(url, normal):
    assert normalize_url(url, PAGE) == normal


@pytest.mark.parametrize(
    ("url", "base", "reason"),
    [
        ("data:image/gif;base64,R0lGOD", PAGE, "data_uri"),
        ("  DATA:,x", PAGE, "data_uri"),
        ("ftp://example.com/a", PAGE, "scheme"),
        ("blob:http://example.com/1", PAGE, "scheme"),
        ("javascript:void(0)", PAGE, "scheme"),
        ("a.jpg", None, "unresolvable"),
        ("//example.com/a", None, "unresolvable"),
        ("a.jpg", "about:blank", "unresolvable"),
        ("https:a.jpg", PAGE, "unresolvable"),
        ("http://", PAGE, "unresolvable"),
        ("http:///a", PAGE, "unresolvable"),
        ("http://user@/a", PAGE, "unresolvable"),
        ("http://example.com:http/a", PAGE, "unresolvable"),
        ("http://example.com:70000/a", PAGE, "unresolvable"),
        ("http://[::1/a", PAGE, "unresolvable"),
        ("http://a<b>/", PAGE, "unresolvable"),
        ("http://a\u2100b.com/", PAGE, "unresolvable"),  # IDNA maps the character to a/c
        (f"http://{'ü' * 64}.com/", PAGE, "unresolvable"),
    ],
)
def test_references_without_an_image_url_are_refused_with_a_reason(url, base, reason):
    with pytest.raises(UrlError) as refused:
        normalize_url(url, base)
    assert refused.value.reason == reason


# RFC 3986, section 5.4, without fragments (dropped here) and `g:h` (another scheme).
RFC_BASE = "http://a/b/c/d;p?q"
RFC_EXAMPLES = {
    "g": "g", "./g": "g", "g/": "g/", "?y": "d;p?y", "g?y": "g?y", ";x": ";x", "g;x": "g;x", "g;x?y#s": "g;x?y",
    "": "d;p?q", ".": "", "./": "", "..": "../", "../": "../", "../g": "../g", "g.": "g.", ".g": ".g", "g..": "g..",
    "..g": "..g", "./g/.": "g/", "g/./h": "g/h", "g/../h": "h", "g;x=1/./y": "g;x=1/y", "g;x=1/../y": "y",
    "g?y/./x": "g?y/./x", "g?y/../x": "g?y/../x",
}  # fmt: skip


@pytest.mark.parametrize(("reference", "below"), RFC_EXAMPLES.items())
def test_the_examples_of_the_rfc_resolve_as_specified(reference, below):
    prefix = "http://a/b/" if below.startswith("../") else "http://a/b/c/"
    assert normalize_url(reference, RFC_BASE) == prefix + below.removeprefix("../")


def test_dot_segments_of_the_base_are_removed_with_those_of_the_path():
    assert normalize_url("g", "http://a/b/../c/./d") == "http://a/c/g"
    assert normalize_url("?g", "http://a/b/../c") == "http://a/b/../c?g"


def test_absolute_paths_and_excess_dot_segments_resolve_as_the_rfc_specifies():
    assert [normalize_url(r, RFC_BASE) for r in ("/g", "//g", "../../../g", "/../g", "/./g", "../..", "../../g")] == [
        "http://a/g", "http://g", "http://a/g", "http://a/g", "http://a/g", "http://a/", "http://a/g",
    ]  # fmt: skip


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
    st.lists(st.sampled_from(["a", "b", "c.html", "..", "."]), max_size=4),
    st.sampled_from(["", "?q=/x"]),
)


@settings(deadline=None)
@given(paths, bases)
def test_resolving_agrees_with_urllib_if_no_segment_is_empty(path, base):
    assume(urljoin(base, path).count("//") == 1)
    assert normalize_url(path, base) == urljoin(base, path)


PIECES = (
    r"""http: https: HTTP: // / a B .. . ? # @ : 80 443 :0 ü ß 。 ℀ İ % [ ] ::1 \ data: w.example 日本 xn-- {x} |"""
)
SPACES_AND_MARKS = [" ", "\t", "\n", "\x0b", "\x00", "\xa0", "\u3000", "\u00ad", "\u0301", "\ud800"]
pieces = st.lists(st.sampled_from([*PIECES.split(), *SPACES_AND_MARKS]), max_size=9).map("".join)
wild = pieces | st.text(st.characters(exclude_categories=()), max_size=20)


def outcome(url, base):
    try:
        return normalize_url(url, base)
    except UrlError as error:
        return error


@settings(deadline=None)
@given(wild, st.none() | bases | wild)
def test_normalizing_is_idempotent(url, base):
    once = outcome(url, base)
    if isinstance(once, str):
        assert once.isascii()
        assert not set(once) & set(" \t\r\n#")
        assert once.startswith(("http://", "https://"))
        assert normalize_url(once, None) == once
        assert normalize_url(once, "http://other.example/") == once
        assert len(image_id(once)) == 24
        host(once)


@settings(deadline=None)
@given(wild | paths, st.none() | bases | wild)
def test_the_fast_path_gives_the_same_result_as_full_parsing(url, base):
    parsed = outcome(" " + url, base)  # a leading space is stripped, but only by full parsing
    fast = outcome(url, base)
    assert str(fast) == str(parsed)
    assert type(fast) is type(parsed)


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
        ("http://a.example/x/y", "https://b.example", "https://b.example"),
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
        ("https://:0", ""),
    ],
)
def test_the_host_of_a_url_has_no_user_and_no_port(url, name):
    assert host(url) == name
