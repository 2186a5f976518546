"""A decoder that some pictures crash."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

import pytest
from PIL import Image, PngImagePlugin

from curation.images import decode
from curation.images.codec.budget import BudgetedProcess

MARK = "poison"


def poisoned(data: bytes) -> bytes:
    """Return a picture as a PNG that ends the process which decodes it."""
    sink, texts = io.BytesIO(), PngImagePlugin.PngInfo()
    texts.add_text("Comment", MARK)
    Image.open(io.BytesIO(data)).save(sink, "PNG", pnginfo=texts)
    return sink.getvalue()


def answer(request: bytes) -> bytes:
    """Answer as the child that decodes does, but crash at a poisoned picture."""
    if MARK.encode() in request:
        os.abort()
    return decode.answer_decode(request)


@pytest.fixture
def crashing_decoder(monkeypatch) -> Iterator[None]:
    """The child that decodes crashes at poisoned pictures."""
    process = BudgetedProcess(f"{__name__}:{answer.__name__}", decode.DECODE_CPU_S, decode.DECODE_MEMORY)
    monkeypatch.setattr(decode, "_decoder", process)
    yield
    process.close()
