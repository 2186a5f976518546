"""Optional cleaning of texts, and filters by the form of a text, as small named functions.

All are off by default, so that results stay comparable. Ingest applies the enabled ones in a fixed order
(`curation.filters.steps`).
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache

import ftfy

JOINERS = "\u200c\u200d"  # needed by Persian and other scripts, and by emoji
EXTENSIONS = "jpe?g|jfif|png|gif|webp|bmp|tiff?|svg|avif|heic|ico|psd|raw"
WORDS_OF_A_FILE_NAME = 4

# a name with the extension of an image file, in any script
_with_extension = re.compile(
    rf"(?:\S+ ){{0,{WORDS_OF_A_FILE_NAME - 1}}}\S*\.(?:{EXTENSIONS})(?:\?\S*)?", re.IGNORECASE
).fullmatch
# names that cameras, phones and programs give to images: a word and a number
_numbered = re.compile(
    r"(?:img|dscn?|dscf|dji|pxl|mvimg|gopr|pict?|sam|cimg|p|screen ?shot|whatsapp image|image|picture|photo|untitled|"
    r"bild|foto|imagen|imagem|immagine|фото|изображение|картинка|写真|画像|图片|圖片|照片|사진|이미지|صورة|تصویر|תמונה|"
    r"चित्र|รูปภาพ)"
    r"[ _.()-]*\d[\d _.,:()-]*(?:at [\d.:]+(?: [ap]m)?)?"
    rf"(?:\.(?:{EXTENSIONS}))?",
    re.IGNORECASE,
).fullmatch
_code = re.compile(r"[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d[\d_-]{5,}", re.IGNORECASE).fullmatch


def without_entities(text: str) -> str:
    """Return a text with HTML entities (`&amp;`, `&#233;`) decoded, including doubly escaped ones."""
    if "&" not in text:
        return text
    once = html.unescape(text)
    return html.unescape(once) if "&" in once else once


def without_controls(text: str) -> str:
    """Return a text without control and invisible format characters, except ZWNJ and ZWJ."""
    if text.isprintable():  # printable texts contain none
        return text
    return "".join(c for c in text if c.isspace() or c in JOINERS or not _invisible(c))


def repaired(text: str) -> str:
    """Return a text with mojibake repaired: UTF-8 that was decoded as another encoding (`cafÃ©`)."""
    return text if text.isascii() else ftfy.fix_encoding(text)


def is_mojibake(text: str) -> bool:
    """Return whether a text contains mojibake that can be repaired."""
    return repaired(text) != text


def is_file_name(text: str) -> bool:
    """Return whether a text is only a file name: `IMG_0023.jpg`, `写真 12`, a hash."""
    return bool(_with_extension(text) or _numbered(text) or _code(text))


@cache
def _invisible(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Cn")
