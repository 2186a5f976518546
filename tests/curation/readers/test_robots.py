from __future__ import annotations

import json

import msgspec
import pytest

from curation.readers.robots import directives

NONE = msgspec.Raw()


def meta(content, name="robots", key="name"):
    return [{"name": "viewport", "content": "noindex"}, {key: name, "content": content}]


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(
    ("metas", "headers", "found"),
    [
        (meta("noai, noimageai"), {}, {"noai", "noimageai"}),
        (meta("NOINDEX,follow", "ROBOTS"), {}, {"noindex"}),
        (meta("none"), {}, {"noindex"}),
        (meta("noimageindex", "X-Robots-Tag", "http-equiv"), {}, {"noimageindex"}),
        (meta("noindex", "googlebot"), {}, set()),
        (meta("index, follow, max-image-preview:none"), {}, set()),
        (meta('"{noai}", noindex'), {}, {"noindex"}),
        ([{"content": "noai} {noindex, noai", "name": "robots"}], {}, {"noai"}),
        ([], {"x-robots-tag": "noai"}, {"noai"}),
        ([], {"X-Robots-Tag": ["noindex", "unavailable_after: 1 Jan 2030, noai"]}, {"noindex", "noai"}),
        ([], {"X-Robots-Tag": "googlebot: noindex, noai"}, set()),
        ([], {"X-Robots-Tag": "*: noindex"}, {"noindex"}),
        ([], {"Server": "noai robots"}, set()),
        ([5, {"name": 5, "content": "noai"}, {"name": "robots", "content": 5}, {"name": "robots"}], {}, set()),
        ("robots", ["robots"], set()),
        (None, None, set()),
    ],
)
def test_directives_for_every_robot_are_found_in_metas_and_headers(metas, headers, found, raw):
    if raw:
        metas, headers = (msgspec.Raw(json.dumps(value).encode()) for value in (metas, headers))
    assert directives(metas, headers) == found


def test_missing_and_invalid_metas_are_no_obstacle():
    assert directives(NONE, NONE) == set()
    assert directives(msgspec.Raw(b'[{"name":"robots","content":"no\xffai, noai"}]'), NONE) == {"noai"}
