"""Names of MediaWiki's namespaces: the English ones, which every wiki understands, and many wikis' own.

A dump's `<siteinfo>` gives the wiki's present names; the list here serves dumps without it and old names that still
stand in the text. All names are in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping

FILE, CATEGORY = 6, 14

# Namespaces other than articles, as page-view files may name them on any wiki.
CANONICAL = frozenset(
    name
    for space in (
        "talk", "user", "wikipedia", "project", "file", "image", "mediawiki", "template", "help", "category", "portal",
        "book", "draft", "module", "timedtext", "education program", "gadget", "gadget definition", "topic", "mos",
    )
    for name in (space, f"{space} talk")
) | {"media", "special", "wp", "wt"}  # fmt: skip

_FILE_NAMES = """
    file image media · lêer beeld · datei bild medium · imachen · ملف صورة · archivu ficheru imaxe · fayl şəkil · файл
    рәсем · выява · картинка изображение · চিত্র · restr skeudenn · datoteka slika · fitxer imatge · پەڕگە وێنە · soubor
    obrázek · ӳкерчĕк · delwedd · fil billede · αρχείο εικόνα · dosiero · archivo imagen · pilt fail · fitxategi irudi ·
    پرونده تصویر · tiedosto kuva · mynd · fichier · ofbyld · íomhá · faidhle dealbh · ficheiro imagem · קובץ תמונה · चित्र ·
    wobraz dataja · fájl kép · պատկեր · berkas gambar · arkivo imajo · immagine · ファイル 画像 · ფაილი სურათი · сурет · ರೂಪ ಚಿತ್ರ
    ಚಿತ್ರ · 파일 그림 · wêne · fasciculus imago · plaetje afbeelding bestand · archivi · vaizdas · attēls · sary · податотека
    слика датотека · പ്രമാണം ചിത്രം · зураг · चित्रः · စာ ပုံ · ဖိုင် · bild · fichièr imatge · ਤਸਵੀਰ · plik grafika · figura ·
    فائل · imagine fișier · рэсем билэ ойуу · mmàggini · súbor obrázok · skeda figura · picha · படிமம் · దస్త్రం బొమ్మ · акс ·
    ไฟล์ ภาพ · talaksan · dosya resim · зображення · imàjine · tập tin hình · ragiv magod · kaarangay · בילד טעקע · 文件 档案
    檔案 圖像 图像 · àwòrán fáìlì
"""
_CATEGORY_NAMES = """
    category · kategorie · መደብ · categoría · تصنيف · kateqoriya · بؤلمه · категория · катэгорыя · বিষয়শ্রেণী · rummad ·
    kategorija · categoria · категори · kategoriya · پۆل · categori · kategori · κατηγορία · kategorio · kategooria ·
    kategoria · رده · luokka · bólkur · catégorie · kategory · catagóir · roinn-seòrsa · קטגוריה · श्रेणी · kategória ·
    կատեգորիա · flokkur · カテゴリ · კატეგორია · санат · ವರ್ಗ · 분류 · kategorî · categorie · categuria · sokajy · категорија ·
    വർഗ്ഗം · ангилал · वर्ग · رج · categurìa · पुचः · ଶ୍ରେଣୀ · ਸ਼੍ਰੇਣੀ · categorìa · گٹھ · katiguriya · वर्गः · catigurìa ·
    ප්‍රවර්ගය · jamii · பகுப்பு · వర్గం · гурӯҳ · หมวดหมู่ · kategorya · төркем · категорія · زمرہ · turkum · thể loại · klad ·
    kaarangay · קאַטעגאָריע קאטעגאריע · ẹ̀ka · 分類 分类
"""


def _names(lists: str) -> frozenset[str]:
    """Return the names in a list whose groups, one a language or two, a dot separates."""
    return frozenset(name for group in lists.split("·") for name in (" ".join(group.split()), *group.split()))


HIDDEN = _names(_FILE_NAMES) | _names(_CATEGORY_NAMES)
"""Namespaces whose links show nothing in the text."""


def hidden_names(namespaces: Mapping[int, str]) -> frozenset[str]:
    """Return a wiki's own names of the namespaces whose links show nothing."""
    return frozenset(namespaces[key].lower() for key in (FILE, CATEGORY) if namespaces.get(key))


def other_names(namespaces: Mapping[int, str]) -> frozenset[str]:
    """Return a wiki's own names of all namespaces but that of its articles."""
    return frozenset(name.lower() for key, name in namespaces.items() if key and name)
