"""Announces that the machine code of the matching loops is compiled first, during which a job seems to do nothing."""

from __future__ import annotations

import logging

from curation.jit.compiler import has_machine_code

log = logging.getLogger(__name__)

BUILD = ("curation.matching.trie_build",)
MATCH = ("curation.matching.trie_search", "curation.lid.fasttext_predict")
SECONDS = 20


def announce_compilation(job: str, *modules: str) -> None:
    """Log that a job compiles its loops first, unless this machine has their machine code.

    Other machines of a cluster compile for themselves; this one stands for them.
    """
    if not has_machine_code(*modules):
        log.info(
            "%s: compiling machine code first, which takes about %d s on each machine, once per release", job, SECONDS
        )
