"""CLIP-ViP (arXiv 2209.06430): videos as frames that an image encoder reads, with subtitles and captions.

The rate is that of the first stage; the published warm-up is 1% of the steps. Fine-tuning has one contrast of video and
text: `terms: [{kind: info_nce, between: [frames, text], weight: 2}]`.
"""

from __future__ import annotations

from training.methods.catalog import Method

METHOD = Method(
    "read the frames of videos with proxy tokens, and compare them with subtitles and captions",
    published={
        "views": {
            "frames": {"kind": "frames", "count": 12},
            "middle": {"kind": "frames", "count": 1},
            "subtitle": {"kind": "text", "sources": {"subtitle": 1}},
            "caption": {"kind": "text", "sources": {"caption": 1}, "optional": True},
        },
        "terms": [{"kind": "omni_source"}],
        "select": {"frames": {}, "subtitle": {}},
        "phase": {"scale": {"max": 200}},
        "lr": 5e-6,
        "weight_decay": 0.05,
        "betas": [0.9, 0.98],
        "max_grad_norm": 5.0,
        "context_length": 70,
    },
    tiny={"views": {"frames": {"count": 4}}, "lr": 4e-4, "context_length": 32},
)
