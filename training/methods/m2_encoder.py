"""M2-Encoder (arXiv 2401.15896): pairs are compared inside groups of ranks.

Group sizes are not published; eight ranks are one node of the published runs.
"""

from __future__ import annotations

from training.methods.catalog import Method

METHOD = Method(
    "compare pairs inside groups of ranks, which exchange less than all ranks would",
    published={"group": {"ranks": 8}, "context_length": 52},
    tiny={"group": {"ranks": 1}, "context_length": 32},
)
