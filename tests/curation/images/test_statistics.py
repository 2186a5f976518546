"""Statistics of tasks add up to those of all images, and hosts are bounded without losing a failure."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.images import statistics
from curation.images.statistics import ASPECT_EDGES, SIDE_EDGES, ImageStatistics, host_suffix, merged

RANGES = {"x": (-1.0, 1.0)}
sides = st.integers(1, 2000) | st.sampled_from([*SIDE_EDGES, *(edge - 1 for edge in SIDE_EDGES)])
stored = st.builds(lambda w, h, x: ({"status": "ok", "width": w, "height": h, "scores": [("x", x)]}, "http://a.com/"),
                   sides, sides, st.floats(-2, 2))  # fmt: skip
failed = st.builds(lambda host, reason: ({"status": "failed", "reason": reason}, host and f"https://{host}:8/1"),
                   st.sampled_from(["a.com", "b.c.com", "x.c.com", "d.co.uk", "[::1]", None]),
                   st.sampled_from(["timeout", "http_404"]))  # fmt: skip


def bin_of(value, edges):
    return sum(value >= edge for edge in edges)


@given(st.lists(st.lists(stored | failed, max_size=20), max_size=5))
def test_the_sum_of_tasks_is_that_of_all_rows(tasks):
    parts = []
    for rows in tasks:
        parts.append(ImageStatistics())
        for row, url in rows:
            parts[-1].count(row, url, RANGES)
    whole = merged(parts)
    rows = [row for task in tasks for row, _ in task]
    ok = [row for row in rows if row["status"] == "ok"]
    by_side = Counter(bin_of(min(row["width"], row["height"]), SIDE_EDGES) for row in ok)
    by_aspect = Counter(bin_of(row["width"] / row["height"], ASPECT_EDGES) for row in ok)
    assert whole.sides == [by_side[n] for n in range(len(SIDE_EDGES) + 1)]
    assert whole.aspects == [by_aspect[n] for n in range(len(ASPECT_EDGES) + 1)]
    scores = Counter(min(max(math.floor((row["scores"][0][1] + 1) * 10), 0), 19) for row in ok)
    assert whole.scores.get("x", [0] * 20) == [scores[n] for n in range(20)]
    failures = Counter()
    for row, url in (each for task in tasks for each in task):
        if row["status"] == "failed" and url:
            name = url.removeprefix("https://").removesuffix(":8/1")
            failures[{"b.c.com": "c.com", "x.c.com": "c.com"}.get(name, name), row["reason"]] += 1
    assert {(host, reason): n for host, reasons in whole.failures.items() for reason, n in reasons.items()} == failures


def failing(counts):
    part = ImageStatistics()
    for host, count in counts.items():
        for _ in range(count):
            part.count({"status": "failed", "reason": "dns"}, f"http://{host}/", {})
    return part


@given(st.lists(st.dictionaries(st.sampled_from([f"h{n}.com" for n in range(50)]), st.integers(1, 9)), max_size=9))
def test_the_hosts_with_the_most_failures_are_kept_and_the_others_counted_together(tasks):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "MERGED_HOSTS", 40)
        whole = merged(map(failing, tasks))
    total = sum((Counter(task) for task in tasks), Counter())
    assert sum(sum(reasons.values()) for reasons in whole.failures.values()) == total.total()
    listed = {host: sum(reasons.values()) for host, reasons in whole.failures.items() if host}
    assert len(listed) <= statistics.HOSTS
    assert all(count <= total[host] for host, count in listed.items())
    if len(total) <= 40:
        ranked = sorted(total, key=lambda host: (-total[host], host))[: statistics.HOSTS]
        assert listed == {host: total[host] for host in ranked}


def test_scores_of_filters_that_are_no_longer_configured_are_not_counted():
    part = ImageStatistics()
    part.count({"status": "failed", "reason": "y", "scores": [("y", 0.5), ("x", 0.5)]}, None, RANGES)
    assert list(part.scores) == ["x"]


def test_parts_without_images_are_left_out_of_the_totals():
    assert ImageStatistics().totals(RANGES) == {}
    part = ImageStatistics()
    part.count({"status": "ok", "width": 10, "height": 20, "scores": None}, None, RANGES)
    assert list(part.totals(RANGES)) == ["stored"]


@pytest.mark.parametrize(
    ("host", "suffix"),
    [
        ("example.com", "example.com"),
        ("img.cdn.example.com", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("www.example.com.br", "example.com.br"),
        ("a.example.or.jp", "example.or.jp"),
        ("a.b.example.de", "example.de"),
        ("localhost", "localhost"),
        ("192.168.10.1", "192.168.10.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("xn--bcher-kva.example.xn--p1ai", "example.xn--p1ai"),
    ],
)
def test_a_host_has_the_suffix_that_its_owner_registered(host, suffix):
    assert host_suffix(host) == suffix
