"""Names of MediaWiki namespaces: the English names, which every wiki understands, and those of many wikis.

The `<siteinfo>` of a dump has the wiki's current names. CirrusSearch dumps have no `<siteinfo>`, but the file
`…-siteinfo-namespaces.json.gz` of the wiki's XML dump, which also has aliases, may be next to them. The lists in this
module cover dumps with neither, and old names that still occur in texts. All names are in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

import orjson

from curation.cli.lists import split_names
from curation.errors import InputError
from metadata.dumps.decompress import read_blocks

SITEINFO = "siteinfo-namespaces.json"
FILE, CATEGORY = 6, 14

# Namespaces other than articles, under the names that page-view files may use for any wiki.
CANONICAL = frozenset(
    name
    for space in (
        "talk", "user", "wikipedia", "project", "file", "image", "mediawiki", "template", "help", "category", "portal",
        "book", "draft", "module", "timedtext", "education program", "gadget", "gadget definition", "topic", "mos",
    )
    for name in (space, f"{space} talk")
) | {"media", "special", "wp", "wt"}  # fmt: skip

_FILE_NAMES = """
afbeelding, archivi, archivo, archivu, arkivo, attēls, beeld, berkas, bestand, bild, billede,
datei, datoteka, dealbh, delwedd, dosiero, dosya, faidhle, fail, fasciculus, fayl, ficheiro,
ficheru, fichier, fichièr, figura, fil, file, fitxategi, fitxer, fișier, fájl, fáìlì, gambar,
grafika, hình, imachen, image, imagem, imagen, imagine, imago, imatge, imaxe, immagine, imàjine,
irudi, kuva, kép, lêer, magod, mmàggini, mynd, obrázek, obrázok, ofbyld, picha, pilt, plaetje,
plik, ragiv, resim, restr, sary, skeda, skeudenn, slika, soubor, súbor, talaksan, tiedosto,
tập tin, vaizdas, wêne, àwòrán, íomhá, şəkil, αρχείο, εικόνα, билэ, выява, датотека, зображення,
зураг, изображение, ойуу, податотека, рәсем, слика, сурет, файл, ӳкерчĕк, պատկեր, בילד, טעקע, קובץ,
תמונה, تصویر, صورة, فائل, ملف, وێنە, پرونده, پەڕگە, चित्र, चित्रम्, চিত্র, ਤਸਵੀਰ, படிமம், దస్త్రం,
బొమ్మ, ಚಿತ್ರ, ചിത്രം, പ്രമാണം, ภาพ, ไฟล์, ဖိုင်, სურათი, ფაილი, ファイル, 图像, 圖像, 文件, 档案, 檔案, 画像, 그림,
파일
"""
_CATEGORY_NAMES = """
bólkur, catagóir, categori, categoria, categorie, category, categorìa, categoría, categuria,
categurìa, catigurìa, catégorie, flokkur, jamii, kaarangay, kategooria, kategori, kategoria,
kategorie, kategorija, kategorio, kategoriya, kategory, kategorya, kategorî, kategória, kateqoriya,
katiguriya, klad, luokka, roinn-seòrsa, rummad, sokajy, thể loại, turkum, κατηγορία, ангилал,
гурӯҳ, категори, категория, категорија, категорія, катэгорыя, санат, төркем, կատեգորիա,
קאַטעגאָריע, קאטעגאריע, קטגוריה, بؤلمه, تصنيف, رج, رده, زمرہ, پۆل, گٹھ, पुचः, वर्ग, वर्गः, श्रेणी,
বিষয়শ্রেণী, ਸ਼੍ਰੇਣੀ, ଶ୍ରେଣୀ, பகுப்பு, వర్గం, ವರ್ಗ, വർഗ്ഗം, หมวดหมู่, კატეგორია, መደብ, ẹ̀ka, カテゴリ,
分类, 分類, 분류
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(split_names(text))


# Links to files and categories show no text.
HIDDEN = _names(_FILE_NAMES) | _names(_CATEGORY_NAMES)


def hidden_names(namespaces: Mapping[int, str]) -> frozenset[str]:
    """Return a wiki's names of the namespaces whose links show no text."""
    return frozenset(namespaces[key].lower() for key in (FILE, CATEGORY) if namespaces.get(key))


def other_names(namespaces: Mapping[int, str]) -> frozenset[str]:
    """Return a wiki's names of all namespaces except the article namespace."""
    return frozenset(name.lower() for key, name in namespaces.items() if key and name)


def is_siteinfo(path: str) -> bool:
    """Return whether a file among the dumps is a list of namespaces."""
    return SITEINFO in path


def read_siteinfo(stream: BinaryIO, path: str) -> frozenset[str]:
    """Return a wiki's names of all namespaces except articles from an open `siteinfo-namespaces.json`.

    Raises InputError, which names the file, if it is malformed.
    """
    try:
        query = orjson.loads(b"".join(read_blocks(stream, path)))["query"]
        spaces: list[dict[str, Any]] = [*query["namespaces"].values(), *query.get("namespacealiases", [])]
        return frozenset(space["*"].lower() for space in spaces if space["id"] and space["*"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} does not name a wiki's namespaces") from error
