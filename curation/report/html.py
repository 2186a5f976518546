"""The Jinja environment of HTML pages: number formats and the style sheet that all pages share."""

from __future__ import annotations

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from curation.report import charts

SHARED = "curation.report"


def environment(package: str) -> Environment:
    """Return an environment for the pages of a package.

    A template is looked up in the folder templates/ of the package, then in that of `curation.report`, which has
    `style.html`.
    """
    loader = ChoiceLoader([PackageLoader(name) for name in dict.fromkeys((package, SHARED))])
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    env.filters.update(number=charts.number, percent=charts.percent, seconds=charts.seconds)
    env.filters["words"] = lambda name: name.replace("_", " ")
    return env
