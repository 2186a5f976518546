"""Slow, obvious implementations that the product is compared with, written independently of it."""

from __future__ import annotations

import re
import string
import unicodedata
from functools import cache

# The oracle: the rules again, one character cluster at a time, with scripts by character names and `in`.

OPEN_NAMES = ("CJK UNIFIED", "CJK COMPAT", "CJK RADICAL", "KANGXI", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO")
OPEN_NAMES += ("KHMER", "MYANMAR", "TIBETAN")
INVISIBLE = "\u200b\u00ad\ufeff\u2060\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
INVISIBLE += "".join(map(chr, range(0xFE00, 0xFE10)))
JOINERS = "'-_·.,״׳"


def is_mark(char):
    return unicodedata.category(char)[0] == "M" or char in "\u200c\u200d"


def script(char):
    name = unicodedata.name(char, "")
    return "open" if name.startswith(OPEN_NAMES) or char in "ー々〆〇་" else "hangul" if "HANGUL" in name else "other"


def is_symbol(char):
    return unicodedata.category(char)[0] in "PS" and char != "་" and not "\u2e80" <= char <= "\u2fd5"


def folds(char):
    folded = unicodedata.normalize("NFKC", char)
    symbol = is_symbol(char) and unicodedata.category(char)[0] == "S"
    return folded != char and (symbol or "⁄" in folded)


def clusters(text):
    """Split into characters with their marks; white space, and marks right after it, are clusters of their own."""
    out = []
    for char in text:
        if is_mark(char) and out and not out[-1][0].isspace():
            out[-1] += char
        else:
            out.append(char)
    return out


@cache
def oracle_normalize(text):
    text = "".join(c for c in text if c not in INVISIBLE and (unicodedata.category(c) != "Cc" or c.isspace()))
    text = "".join(f" {c} " if folds(c[0]) else c for c in clusters(text))
    text = unicodedata.normalize("NFKC", text)
    for old, new in zip("’ʼ‐", "''-", strict=True):
        text = text.replace(old, new)
    cut = clusters(text)

    def word(at):
        return 0 <= at < len(cut) and not cut[at][0].isspace() and not is_symbol(cut[at][0])

    def plain(at):
        return word(at) and script(cut[at][0]) == "other"

    def joins(at):
        return 0 <= at < len(cut) and cut[at][0] in JOINERS and plain(at - 1) and plain(at + 1)

    out = ""
    for at, cluster in enumerate(cut):
        if is_symbol(cluster[0]) and not joins(at):
            cluster = f" {cluster} "
        elif word(at) and word(at - 1) and script(cluster[0]) != script(cut[at - 1][0]):
            cluster = " " + cluster
        out += cluster
    return re.sub(" +", " ", re.sub(r"\s", " ", f" {out} "))


@cache
def oracle_normalize_entry(entry):
    normalized = oracle_normalize(entry)
    bases = [cluster[0] for cluster in clusters(normalized[1:-1])]
    if not bases:
        return None
    first, last = (None if is_symbol(base) else script(base) for base in (bases[0], bases[-1]))
    return normalized[first == "open" : len(normalized) - (last in ("open", "hangul"))]


def katakana(char):
    return unicodedata.name(char, "").startswith("KATAKANA") and char != "・"


def oracle_worldwide(entry, text):
    normalized, normalized_text = oracle_normalize_entry(entry), oracle_normalize(text)
    if normalized is None:
        return False
    letters = [c for c in normalized if unicodedata.category(c) not in ("Mn", "Mc")]
    short = 1 <= len(letters) <= 2 and all(map(katakana, letters))
    for at in range(len(normalized_text) - len(normalized) + 1):
        if not normalized_text.startswith(normalized, at):
            continue
        left, right = normalized_text[:at], normalized_text[at + len(normalized) :]
        if normalized[-1] != " " and unicodedata.category(right[0]) in ("Mn", "Mc"):
            continue
        while unicodedata.category(left[-1:] or " ") in ("Mn", "Mc"):
            left = left[:-1]
        if short and (katakana(left[-1:] or " ") or katakana(right[0])):
            continue
        return True
    return False


REFERENCE_OPEN = string.punctuation + "，。、；：？！“”‘’（）【】《》〈〉「」『』～—"
REFERENCE_BLOCKS = """4E00–9FFF 3400–4DBF 20000–2A6DF 2A700–2B73F 2B740–2B81F 2B820–2CEAF 2CEB0–2EBEF F900–FAFF
2E80–2EFF
2F00–2FDF 2FF0–2FFF 0E00–0EFF 0F00–0FFF 1000–109F 1780–17FF"""
REFERENCE_BLOCKS = [tuple(int(end, 16) for end in block.split("–")) for block in REFERENCE_BLOCKS.split()]


def oracle_reference(entry, text):
    def is_open(char):
        return char in REFERENCE_OPEN or any(first <= ord(char) <= last for first, last in REFERENCE_BLOCKS)

    text = " " + text + " "
    for symbol in ",.;:?!`":
        text = text.replace(symbol, f" {symbol} ")
    text = text.replace("\t", " ").replace("\n", " ").replace("\r", " ")
    if not entry:
        return False
    return ("" if is_open(entry[0]) else " ") + entry + ("" if is_open(entry[-1]) else " ") in text


ORACLES = {"worldwide": oracle_worldwide, "reference": oracle_reference}
