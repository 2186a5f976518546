"""XML dumps of a small wiki."""

from __future__ import annotations

from html import escape

SITEINFO = (
    '<siteinfo><sitename>W</sitename><namespaces><namespace key="0" /><namespace key="6">Datei</namespace>'
    '<namespace key="10">Vorlage</namespace></namespaces></siteinfo>'
)


def page(title, text, *, ns="<ns>0</ns>", redirect=False, revisions=("",)):
    history = "".join(f"<revision><id>1</id><text>{escape(old)}</text></revision>" for old in revisions[:-1])
    mark = '<redirect title="x" />' if redirect else ""
    return (
        f"<page><title>{escape(title)}</title>{ns}<id>7</id>{mark}{history}"
        f"<revision><id>2</id><comment>c</comment><text xml:space='preserve'>{escape(text)}</text></revision></page>"
    )


def dump(*pages, siteinfo=SITEINFO):
    return f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{siteinfo}{"".join(pages)}</mediawiki>'
