"""A polite client of the MediaWiki API: plain text of pages, members of categories.

`wikipedia-api` speaks the API. Added are a rate limit, further tries after every failure that may pass (broken
connections, 429, 5xx, the API's own `maxlag` and `ratelimited`), and errors that end in one line. A try waits as long
as the server asks (`Retry-After`), or twice as long as the one before.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import wikipediaapi
from wikipediaapi import Namespace, WikiConnectionError, WikipediaException, WikiRateLimitError

from curation.errors import InputError, UsageError

log = logging.getLogger(__name__)

MAX_WAIT_S = 600  # a server that asks for more is left in peace
PASSING = frozenset({"maxlag", "ratelimited", "readonly", "internal_api_error_DBQueryTimeoutError"})
MAXLAG_S = 5  # the server may refuse a request while its databases lag more


class MediaWiki(wikipediaapi.Wikipedia):  # type: ignore[misc]  # without types
    """One Wikipedia behind its API at `url`, with at most so many requests a second."""

    def __init__(
        self,
        url: str,
        language: str,
        user_agent: str,
        *,
        per_second: float,
        retries: int,
        backoff_s: float,
        timeout_s: float,
    ) -> None:
        super().__init__(
            user_agent,
            language,
            max_retries=retries,
            retry_wait=backoff_s,
            timeout=timeout_s,
            extra_api_params={"maxlag": MAXLAG_S},
            proxy=_proxy(url),
        )
        self._url, self._interval_s, self._last = url, 1 / per_second, 0.0

    def text(self, title: str) -> tuple[str, int, str] | None:
        """Return title, namespace and plain text of a page, redirects followed; None when there is no such page.

        Raises InputError when it cannot be had.
        """
        page = self.page(title)
        with _named(f"page {title!r}"):
            try:
                text = page.text
            except KeyError:  # pages without text of their own, such as special ones
                return None
            return (page.title, int(page.namespace), text) if page.exists() else None

    def members(self, category: str, depth: int) -> Iterator[str]:
        """Yield the titles of a category's articles, and of its subcategories so many levels down, each once.

        `category` goes with its namespace, in English or the wiki's language. Raises InputError when it cannot be had.
        """
        seen, titles, level = {category}, set(), [category]
        for _ in range(depth + 1):
            below = []
            for name in level:
                with _named(f"category {name!r}"):
                    found = self.page(name, ns=Namespace.CATEGORY).categorymembers
                for title, page in found.items():
                    if page.namespace == Namespace.MAIN and title not in titles:
                        titles.add(title)
                        yield title
                    elif page.namespace == Namespace.CATEGORY and title not in seen:
                        seen.add(title)
                        below.append(title)
            level = below

    def _build_url(self, _: str) -> str:
        return self._url

    def _do_get(self, url: str, params: dict[str, Any]) -> dict[str, Any]:
        """Ask once; a failure that may pass is raised as one that the library tries again."""
        time.sleep(max(0.0, self._last + self._interval_s - time.monotonic()))
        try:
            answer: dict[str, Any] = super()._do_get(url, params)
        except WikiRateLimitError as error:
            if (error.retry_after or 0) > MAX_WAIT_S:
                raise InputError(f"{url} asks to wait {error.retry_after} s: run again then") from error
            raise
        except httpx.RequestError as error:
            raise WikiConnectionError(url) from error
        finally:
            self._last = time.monotonic()
        if (problem := answer.get("error")) is None:
            return answer
        if problem.get("code") in PASSING:
            raise WikiRateLimitError(url, None)
        raise InputError(f"{url}: the API answers {problem.get('code')}: {problem.get('info')}")


class _named:  # noqa: N801 - reads as a statement
    """Turns the library's errors into one line that says what could not be had."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, WikipediaException):
            why = f"{type(error).__name__}: {error}"
            raise InputError(f"{self._what} could not be had: {why}; run again to go on") from error


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for a URL; the library takes none by itself."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise UsageError(f"api_url: {url!r} is no http(s) address")
    return None if proxy_bypass(split.hostname) else getproxies().get(split.scheme)
