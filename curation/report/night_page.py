"""Render the report of one batch under one recipe as one self-contained HTML page.

This module does not read the lake. A stage that has not run is missing from `Report.runs`, and the page says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from curation.report import charts, image_section
from curation.report.html import environment
from curation.report.night_data import LanguageCounts, Report, StageRun
from curation.report.unlisted import describe_unlisted

# Stage, figure, label, and the figure of the same stage that is the whole of the share, with the label of the share.
FUNNEL = (
    ("ingest", "read", "image–text occurrences read", "", ""),
    ("ingest", "kept", "occurrences kept", "read", "of the occurrences read"),
    ("ingest", "images", "distinct images", "kept", "of the occurrences kept"),
    ("match", "images_matched", "images with a match", "images", "of the images"),
    ("balance", "curated", "curated pairs", "images", "of the images with a match"),
    ("images", "fetched", "images fetched", "images", "of the images to fetch"),
    ("shards", "written", "shard rows", "pairs", "of the curated pairs"),
)
# The input of each stage, for the shares of its drops; and figures of the totals that are drops as well.
STAGE_INPUTS = {
    "ingest": ("read", "occurrences"),
    "match": ("images", "images"),
    "balance": ("images", "images with a match"),
    "images": ("images", "images to fetch"),
    "shards": ("pairs", "curated pairs"),
}
ALSO_DROPPED = {"ingest": {"duplicates": "duplicate", "over_cap": "over the cap per image"}}
# The keys under which the inputs of a stage name the runs of other stages.
MADE_FROM = {
    "match": {"pairs": "ingest"},
    "totals": {"counts": "match"},
    "balance": {"matches": "match", "totals": "totals"},
    "images": {"curated": "balance"},
    "duplicates": {"images": "images"},
    "shards": {"curated": "balance", "images": "images", "duplicates": "duplicates"},
}


def render(report: Report) -> str:
    """Return the HTML of the page."""
    rows = language_rows(report)
    template = environment("curation.report").get_template("night_page.html")
    return template.render(
        report=report,
        stages=report.stages,
        p=tail_share(report),
        warnings=list(warnings(report)),
        funnel=list(funnel(report)),
        drops=list(drops(report)),
        langs=[row for row in rows if has_texts(row)],
        without_texts=[row["lang"] for row in rows if not has_texts(row)],
        dropped_samples=report.figure("ingest", "dropped_samples") or {},
        unlisted=report.figure("match", "texts_without_list") or {},
        curves=list(curves(report)),
        histograms=list(image_section.histograms(report)),
        failures=image_section.failures_by_host(report),
        timings=list(timings(report)),
    )


def warnings(report: Report) -> Iterator[str]:
    """Yield a warning for each stage with failed inputs, alarms, no output or one made from a replaced run.

    Texts of languages without an entry list get a warning too.
    """
    for stage, run in report.runs.items():
        if not run.complete:
            yield f"{stage} is not complete: {_failed(run)} failed; the next run tries them again."
        yield from (f"{stage}: alarm: {alarm}." for alarm in run.totals.get("alarms", ()))
        if problem := _no_output(report, stage):
            yield problem
        for key, source in MADE_FROM.get(stage, {}).items():
            used = run.inputs.get(key)
            ids = used.values() if isinstance(used, Mapping) else [used] if isinstance(used, str) else used or ()
            if source in report.runs and report.runs[source].run_id not in ids:
                yield f"{stage} was made from an earlier run of {source}: run {stage} again to update it."
    if "match" in report.runs and (line := describe_unlisted(report.runs["match"].totals, report.names)):
        yield f"{line}. Run build_metadata with these languages."


def _failed(run: StageRun) -> str:
    """Return how many of a run's inputs failed."""
    failed, files = run.totals.get("files_failed"), run.totals.get("files")
    return f"{failed:,} of {files:,} input files" if failed and files else "some of its inputs"


def _no_output(report: Report, stage: str) -> str | None:
    """Return a sentence that says why a stage has no output, with its most frequent reason; None if it has some."""
    whole, of = STAGE_INPUTS.get(stage, ("", ""))
    output = next((report.figure(stage, key) for at, key, *_ in reversed(FUNNEL) if at == stage), None)
    given = report.figure(stage, whole)
    if output != 0 or given is None:
        return None
    if not given:
        return f"{stage} has no output: its input is empty (0 {of})."
    reasons = Counter(report.runs[stage].drops)
    [(reason, count)] = reasons.most_common(1) or [("", 0)]
    why = f", most of them for the reason “{reason.replace('_', ' ')}” ({count:,})" if count else ""
    return f"{stage} has no output: it dropped all of {given:,} {of}{why}."


def tail_share(report: Report) -> float | None:
    """Return the tail share p if it is equal for all languages, else None."""
    shares = {row["p"] for row in report.thresholds}
    return shares.pop() if len(shares) == 1 else None


def funnel(report: Report) -> Iterator[dict[str, Any]]:
    """Yield the steps from input to shards, each with its bar and its share of the input of the step."""
    widest = max((report.figure(stage, key) or 0 for stage, key, *_ in FUNNEL), default=0)
    for stage, key, label, whole, of in FUNNEL:
        count = report.figure(stage, key)
        yield {
            "stage": stage,
            "ran": stage in report.runs,
            "label": label,
            "count": count,
            "share": share(count, report.figure(stage, whole)),
            "of": of,
            "bar": charts.share_bars([("matched", share(count, widest))]),
        }


def drops(report: Report) -> Iterator[dict[str, Any]]:
    """Yield every stage that drops rows, with (reason, count, share of the input), the largest counts first."""
    for stage, (whole, of) in STAGE_INPUTS.items():
        counts = dict(report.runs[stage].drops) if stage in report.runs else {}
        for key, reason in ALSO_DROPPED.get(stage, {}).items():
            counts[reason] = counts.get(reason, 0) + (report.figure(stage, key) or 0)
        stage_input = report.figure(stage, whole)
        reasons = sorted(((count, reason) for reason, count in counts.items() if count), key=lambda c: (-c[0], c[1]))
        yield {
            "stage": stage,
            "ran": stage in report.runs,
            "input": stage_input,
            "of": of,
            "reasons": [(reason, count, share(count, stage_input)) for count, reason in reasons],
        }


def language_rows(report: Report) -> list[dict[str, Any]]:
    """Return one row per language: texts identified and matched, pairs curated, bars of their shares, the threshold.

    Rows are in descending order of texts identified. A number is None if its stage has not run.
    """
    columns = {
        "before": report.figure("match", "texts_by_lang"),
        "matched": report.figure("match", "matched_by_lang"),
        "after": report.figure("balance", "curated_by_lang"),
    }
    tails = {language.lang: share(language.matches_below, language.matches) for language in report.languages}
    thresholds = {row["lang"]: {**row, "tail": tails.get(row["lang"])} for row in report.thresholds}
    langs = {*thresholds, *(lang for counts in columns.values() for lang in counts or ())}
    rows = [_language_row(lang, columns, thresholds.get(lang, {})) for lang in langs]
    rows.sort(key=lambda row: (*(-(row[name] or 0) for name in columns), row["lang"]))
    longest = max((value or 0 for row in rows for value in row["shares"].values()), default=0)
    for row in rows:
        row["bars"] = charts.share_bars([(name, share(value, longest)) for name, value in row["shares"].items()])
    return rows


def _language_row(
    lang: str, columns: Mapping[str, Mapping[str, int] | None], threshold: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the row of a language without its bars; `columns` are the counts per language, by name."""
    counts = {name: None if column is None else column.get(lang, 0) for name, column in columns.items()}
    shares = {name: share(counts[name], sum((column or {}).values())) for name, column in columns.items()}
    rate = share(counts["matched"], counts["before"])
    return {"lang": lang, **counts, "shares": shares, "rate": rate, "threshold": threshold}


def has_texts(row: Mapping[str, Any]) -> bool:
    """Return whether a language has texts in the batch."""
    return any(row[name] for name in ("before", "matched", "after"))


def curves(report: Report) -> Iterator[tuple[LanguageCounts, Markup]]:
    """Yield the languages that have counts, with their charts on the same axes."""
    languages = [language for language in report.languages if language.points]
    last_rank = max((language.entries for language in languages), default=0)
    most = max((max(language.points[0][1], language.t) for language in languages), default=0)
    for language in languages:
        label = f"{language.lang}: counts of entries by rank on log axes, with the threshold t = {language.t}"
        yield (
            language,
            charts.rank_chart(
                language.points,
                t=language.t,
                above=language.above,
                last_rank=last_rank,
                most=most,
                label=label,
            ),
        )


def timings(report: Report) -> Iterator[dict[str, Any]]:
    """Yield every stage with its run (None if it has not run) and a bar of its steps, relative to the slowest stage."""
    slowest = max((sum(run.seconds.values()) for run in report.runs.values()), default=0)
    for stage in report.stages:
        run = report.runs.get(stage)
        steps = run.seconds.values() if run else ()
        bar = charts.stacked_bar([share(value, slowest) or 0.0 for value in steps])
        yield {"stage": stage, "run": run, "sum": sum(steps), "bar": bar}


def share(part: float | None, whole: float | None) -> float | None:
    """Return part / whole; None if either is missing or the whole is 0."""
    return part / whole if part is not None and whole else None
