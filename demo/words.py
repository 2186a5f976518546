"""The vocabulary of the demo: one table per language, `languages/<code>.toml`, and the sentences made from it.

A table names every kind of object (`nouns`: a noun phrase with the dictionary form in brackets) and every scene. It has
sentences with slots: captions with `{x}` (noun phrase) and `{at}` (scene), and encyclopedia sentences about a `{word}`
or about a village called `{name}`. The slots are chosen so that no word has to be inflected.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

FOLDER = Path(__file__).parent / "languages"

KINDS = (
    "sun",
    "moon",
    "star",
    "heart",
    "house",
    "tree",
    "fish",
    "flower",
    "boat",
    "apple",
    "key",
    "umbrella",
    "cat",
    "car",
)
SCENES = (
    "beach",
    "garden",
    "mountains",
    "city",
    "forest",
    "snow",
    "night",
    "table",
    "rain",
    "desert",
)

_SYLLABLES = {
    "latin": "ka lo mi ren tal vo zu bel dor fen gar hul nis pra sem tor vik wal",
    "cyrillic": "ка ло ми рен тал во зу бел дор фен гар хул нис пра сем тор вик вал",
    "arabic": "كا لو مي رن تال فو زو بل دور فن غار هول نيس برا سم تور",
    "hebrew": "קא לו מי רן טל וו זו בל דור פן גר הול ניס פרא סם טור",
    "devanagari": "का लो मी रन ताल वो जू बेल दोर फन गार हुल निस प्रा सम तोर",
    "hangul": "가 로 미 란 탈 보 주 벨 도 판 갈 훌 니 파 셈 토",
    "han": "嘉 洛 明 仁 泰 武 祖 贝 多 芬 格 胡 尼 普 森 托",
    "kana": "カ ロ ミ レン タル ボ ズ ベル ドル フェ ガル フル ニス プラ セム トル",
    "thai": "กา โล มี เรน ตาล โว ซู เบล ดอร์ เฟน กาณ์ ฮูล นิส ปรา เซม ทอร์",
}


@dataclass(frozen=True)
class Noun:
    """The name of a kind of object: its dictionary form, and the noun phrase used in captions."""

    word: str
    phrase: str


@dataclass(frozen=True)
class Language:
    """The words and sentences of a language; `space` separates sentences, `stop` ends a sentence."""

    code: str
    name: str
    script: str
    wordnet: str | None
    space: str
    stop: str
    album: str
    captions: tuple[str, ...]
    extras: tuple[str, ...]
    words: tuple[str, ...]
    places: tuple[str, ...]
    common: tuple[str, ...]
    nouns: dict[str, Noun]
    scenes: dict[str, str]

    def caption(self, template: int, kind: str, scene: str) -> str:
        """Return caption sentence number `template` about a kind in a scene."""
        return self.captions[template].format(x=self.nouns[kind].phrase, at=self.scenes[scene])

    def prompts(self, kind: str, rng: Random, count: int) -> list[str]:
        """Return `count` different captions about a kind, for zero-shot classification."""
        choices = [(template, scene) for template in range(len(self.captions)) for scene in SCENES]
        return [self.caption(template, kind, scene) for template, scene in rng.sample(choices, count)]

    def invented_name(self, rng: Random) -> str:
        """Return an invented village name of two to four syllables in the script of the language."""
        parts = rng.choices(_SYLLABLES[self.script].split(), k=rng.choice((2, 3, 3, 4)))
        return "".join(parts).capitalize()


@cache
def languages() -> dict[str, Language]:
    """Return all languages by Wikipedia code, ordered by file name."""
    return {path.stem: _read(path) for path in sorted(FOLDER.glob("*.toml"))}


def _read(path: Path) -> Language:
    table = tomllib.loads(unicodedata.normalize("NFC", path.read_text(encoding="utf-8")))
    return Language(
        code=path.stem,
        name=table["name"],
        script=table["script"],
        wordnet=table.get("wordnet"),
        space=table.get("space", " "),
        stop=table.get("stop", "."),
        album=table["album"],
        captions=tuple(table["captions"]),
        extras=tuple(table["extras"]),
        words=tuple(table["words"]),
        places=tuple(table["places"]),
        common=tuple(table["common"]),
        nouns={kind: _parse_noun(table["nouns"][kind]) for kind in KINDS},
        scenes={scene: table["scenes"][scene] for scene in SCENES},
    )


def _parse_noun(phrase: str) -> Noun:
    """Parse a noun phrase such as `a [tree]` into its dictionary form and the phrase."""
    word = re.search(r"\[(.+)\]", phrase)
    assert word is not None, f"no word in brackets: {phrase}"
    return Noun(word=word.group(1), phrase=phrase.replace("[", "").replace("]", ""))
