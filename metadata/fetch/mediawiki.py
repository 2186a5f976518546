"""Read a wiki through the MediaWiki API, politely: plain text of pages, members of categories.

The package `wikipedia-api` implements the API. This module adds a rate limit, retries after every transient failure
(broken connections, 429, every status from 500 on, the API's own `maxlag` and `ratelimited`), and errors of one line.
The pause before a retry doubles each time, or is as long as the server asks after a 429 (`Retry-After`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx
import wikipediaapi
from wikipediaapi import (
    Namespace,
    WikiConnectionError,
    WikiHttpError,
    WikiHttpTimeoutError,
    WikipediaException,
    WikiRateLimitError,
)

from curation.errors import InputError, UsageError
from curation.io.retry import GaveUpError, RetryPolicy, TransientError, retry

MAX_WAIT_S = 600  # if the server asks for a longer pause, the command ends
TRANSIENT_CODES = frozenset({"maxlag", "ratelimited", "readonly", "internal_api_error_DBQueryTimeoutError"})
MAXLAG_S = 5  # the server may refuse a request while its databases lag more


class MediaWiki(wikipediaapi.Wikipedia):  # type: ignore[misc]  # without types
    """One Wikipedia, read through its API at `url` with at most `per_second` requests per second."""

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
            timeout=timeout_s,
            extra_api_params={"maxlag": MAXLAG_S},
            proxy=_proxy(url),
        )
        self._url, self._interval_s, self._last = url, 1 / per_second, 0.0
        self._policy = RetryPolicy(retries, backoff_s, timeout_s, MAX_WAIT_S, jitter=False)

    def text(self, title: str) -> tuple[str, int, str] | None:
        """Return title, namespace and plain text of a page, following redirects; None if the page does not exist.

        Raises InputError when it cannot be fetched.
        """
        page = self.page(title)
        with _named_failures(f"page {title!r}"):
            try:
                text = page.text
            except KeyError:  # special pages have no text
                return None
            return (page.title, int(page.namespace), text) if page.exists() else None

    def members(self, category: str, depth: int) -> Iterator[str]:
        """Yield the titles of the articles of a category and of `depth` levels of subcategories, each once.

        `category` includes the namespace, in English or the wiki's language. Raises InputError when it cannot be
        fetched.
        """
        seen, titles, level = {category}, set(), [category]
        for _ in range(depth + 1):
            below = []
            for name in level:
                with _named_failures(f"category {name!r}"):
                    pages = self.page(name, ns=Namespace.CATEGORY).categorymembers
                for title, page in pages.items():
                    if page.namespace == Namespace.MAIN and title not in titles:
                        titles.add(title)
                        yield title
                    elif page.namespace == Namespace.CATEGORY and title not in seen:
                        seen.add(title)
                        below.append(title)
            level = below

    def _get(self, _: str, params: dict[str, Any]) -> dict[str, Any]:
        """Query the API, in place of the library's own retries. Raises GaveUpError, InputError, WikipediaException."""
        return retry(self._url, self._policy, lambda: self._query_once(params))

    def _query_once(self, params: dict[str, Any]) -> dict[str, Any]:
        """Query the API once. Raises TransientError for transient failures."""
        time.sleep(max(0.0, self._last + self._interval_s - time.monotonic()))
        try:
            answer: dict[str, Any] = self._do_get(self._url, params)
        except WikiRateLimitError as error:
            raise TransientError("the server answers 429", error.retry_after or 0.0) from error
        except WikiHttpError as error:
            if error.status_code < 500:
                raise
            raise TransientError(f"the server answers {error.status_code}") from error
        except (WikiHttpTimeoutError, WikiConnectionError, httpx.RequestError) as error:
            raise TransientError(f"{type(error).__name__}: {error}") from error
        finally:
            self._last = time.monotonic()
        if (problem := answer.get("error")) is None:
            return answer
        message = f"the API answers {problem.get('code')}: {problem.get('info')}"
        if problem.get("code") in TRANSIENT_CODES:
            raise TransientError(message)
        raise InputError(f"{self._url}: {message}")


@contextmanager
def _named_failures(name: str) -> Iterator[None]:
    """Turn failures of the library and of the network into one line that names a page or category."""
    try:
        yield
    except GaveUpError as error:
        remedy = "" if error.last.wait_s > MAX_WAIT_S else "; run again to continue"
        raise InputError(f"cannot fetch {name}: {error.detail}{remedy}") from error
    except WikipediaException as error:
        why = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot fetch {name}: {why}; run again to continue") from error


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment sets for a URL; the library does not look it up."""
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.hostname:
        raise UsageError(f"api_url: {url!r} is not an http(s) address")
    return None if proxy_bypass(split.hostname) else getproxies().get(split.scheme)
