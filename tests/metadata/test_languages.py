from __future__ import annotations

import pytest

from curation.errors import UsageError
from metadata.languages import LanguageTable

THE_330_WIKIPEDIAS = """
ab ace ady af als alt am ami an ang anp ar arc ary arz as ast atj av avk awa ay az azb ba ban bar bat_smg bbc
bcl be be_tarask bew bg bh bi bjn blk bm bn bo bpy br bs bug bxr ca cbk_zam cdo ce ceb ch chr chy ckb co cr crh
cs csb cu cv cy da dag de dga din diq dsb dtp dty dv dz ee el eml en eo es et eu ext fa fat ff fi fiu_vro fj fo
fon fr frp frr fur fy ga gag gan gcr gd gl glk gn gom gor got gpe gu guc gur guw gv ha hak haw he hi hif hr hsb
ht hu hy hyw ia id ie ig igl ik ilo inh io is it iu ja jam jbo jv ka kaa kab kbd kbp kcg kg ki kk kl km kn ko
koi krc ks ksh ku kus kv kw ky la lad lb lbe lez lfn lg li lij lld lmo ln lo lt ltg lv mad mai map_bms mdf mg
mhr mi min mk ml mn mni mnw mr mrj ms mt mwl my myv mzn nah nap nds nds_nl ne new nia nl nn no nov nqo nrm nso
nv ny oc olo om or os pa pag pam pap pcd pcm pdc pfl pi pih pl pms pnb pnt ps pt pwn qu rm rmy rn ro roa_rup
roa_tara ru rue rw sa sah sat sc scn sco sd se sg sh shi shn si simple sk skr sl sm smn sn so sq sr srn ss st
stq su sv sw szl szy ta tay tcy te tet tg th ti tk tl tly tn to tpi tr trv ts tt tum tw ty tyv udm ug uk ur uz
ve vec vep vi vls vo wa war wo wuu xal xh xmf yi yo za zea zgh zh zh_classical zh_min_nan zh_yue zu
"""
THE_176_LABELS = """
af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb co cs cv cy da de
diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he hi hif hr hsb ht hu hy ia id ie
ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez li lmo lo lrc lt lv mai mg mhr min mk ml mn mr
mrj ms mt mwl my myv mzn nah nap nds ne new nl nn no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah
sc scn sco sd sh si sk sl so sq sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu
xal xmf yi yo yue zh
"""
OMW = {
    "als": "sq", "arb": "ar", "bul": "bg", "cat": "ca", "cmn": "zh", "dan": "da", "ell": "el", "eng": "en", "eus": "eu",
    "fas": "fa", "fin": "fi", "fra": "fr", "glg": "gl", "heb": "he", "hrv": "hr", "ind": "id", "isl": "is", "ita": "it",
    "jpn": "ja", "lit": "lt", "nld": "nl", "nno": "nn", "nob": "no", "pol": "pl", "por": "pt", "qcn": "zh", "ron": "ro",
    "slk": "sk", "slv": "sl", "spa": "es", "swe": "sv", "tha": "th", "zsm": "ms",
}  # fmt: skip
MERGED = {"zh_classical": "zh", "zh_yue": "zh", "be_tarask": "be", "nds_nl": "nds", "simple": "en"}
THE_UNSPACED = "zh zh_classical zh_yue wuu gan ja th lo km my shn mnw blk bo dz"
WIKIPEDIAS, LABELS, UNSPACED = THE_330_WIKIPEDIAS.split(), THE_176_LABELS.split(), set(THE_UNSPACED.split())

HEADER = "wikipedia\tname\tlabels\twordnets\tmerged_into\tspacing\tsegmenter\tsites\tiso639_3"
ENGLISH = "en\tEnglish\ten\teng\t\tspace\twhitespace\t\teng"
OTHER = "other\tOther\t\t\t\tspace\twhitespace\t\t"


@pytest.fixture(scope="module")
def table():
    return LanguageTable.load()


def load(tmp_path, *rows, header=HEADER):
    path = tmp_path / "languages.tsv"
    path.write_text("\n".join(["# remark", "", header, *rows]), encoding="utf-8")
    return LanguageTable.load(path)


def test_every_wikipedia_has_one_row(table):
    assert len(WIKIPEDIAS) == len(set(WIKIPEDIAS)) == 330
    assert list(table.languages) == WIKIPEDIAS
    assert all(language.code == code and language.name for code, language in table.languages.items())


def test_every_label_maps_to_one_key(table):
    assert len(LABELS) == len(set(LABELS)) == 176
    assert sorted(table.label_to_lang) == sorted(LABELS)
    assert set(table.label_to_lang.values()) <= set(table.keys)


def test_labels_map_to_the_wikipedia_of_their_code_with_few_exceptions(table):
    exceptions = {"cbk": "cbk_zam", "lrc": "other", "yue": "zh"}
    assert table.label_to_lang == {label: exceptions.get(label, label) for label in LABELS}


def test_only_known_wikipedias_are_merged_and_those_without_a_label_are_in_other(table):
    own = set(LABELS) & set(WIKIPEDIAS) | {"cbk_zam"}
    for code in WIKIPEDIAS:
        expected = MERGED.get(code) or (code if code in own else "other")
        assert table.target(code) == expected, code
    assert table.keys == sorted(own | {"other"})
    assert len(table.keys) == 175
    assert table.target("other") == "other"


def test_each_wikipedia_is_the_source_of_one_key_and_the_keys_own_comes_first(table):
    sources = {key: table.sources(key) for key in table.keys}
    assert sorted(code for codes in sources.values() for code in codes) == sorted(WIKIPEDIAS)
    assert sources["zh"] == ["zh", "zh_classical", "zh_yue"]
    assert sources["en"] == ["en", "simple"]
    assert {"ltg", "zh_min_nan", "cdo", "hak", "koi", "bat_smg", "roa_tara"} <= set(sources["other"])
    assert all(codes[0] == key for key, codes in sources.items() if key != "other")


def test_a_keys_own_wikipedia_comes_before_those_above_it_in_the_table(tmp_path):
    above = ["bb\tB\t\t\ten\tspace\twhitespace\t\t", "aa\tA\t\t\ten\tspace\twhitespace\t\t"]
    assert load(tmp_path, *above, ENGLISH, OTHER).sources("en") == ["en", "bb", "aa"]


def test_wordnet_codes_map_to_their_wikipedia(table):
    assert OMW.items() <= table.wordnet_to_lang.items()
    assert set(table.wordnet_to_lang.values()) <= set(WIKIPEDIAS)
    assert table.wordnet_to_lang["wikt-als"] == "als", "Wiktionary's als is Alemannic, OMW's is Albanian"


def test_site_names_are_codes_with_hyphens(table):
    assert {code.replace("_", "-"): code for code in WIKIPEDIAS}.items() <= table.site_to_code.items()
    assert table.site_to_code["zh-yue"] == "zh_yue"
    assert table.site_to_code["be-tarask"] == table.site_to_code["be-x-old"] == "be_tarask"
    assert "other" not in table.site_to_code


def test_languages_without_spaces_have_a_segmenter(table):
    assert {code for code, language in table.languages.items() if language.spacing == "none"} == UNSPACED
    for code, language in table.languages.items():
        assert (language.segmenter == "whitespace") == (code not in UNSPACED)


def test_an_unknown_wikipedia_is_refused(table):
    with pytest.raises(UsageError, match="'xx'"):
        table.target("xx")


def test_the_digest_ignores_names_order_and_comments(tmp_path):
    german = "de\tGerman\tde\t\t\tspace\twhitespace\t\t"
    digest = load(tmp_path, ENGLISH, german, OTHER).digest
    assert len(digest) == 64
    assert load(tmp_path, german, ENGLISH.replace("English", "Anglais"), "# remark", OTHER).digest == digest
    assert load(tmp_path, ENGLISH + ",enm", german, OTHER).digest == digest, "match_id covers ISO codes separately"
    changes = [("\ten\t", "\ten,us\t"), ("eng", "enm"), ("space", "none"), ("whitespace", "icu")]
    for old, new in changes:
        assert load(tmp_path, ENGLISH.replace(old, new, 1), german, OTHER).digest != digest
    assert load(tmp_path, ENGLISH, german, OTHER.replace("\tOther\t", "\tOther\tlrc")).digest != digest


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ENGLISH + "\textra", OTHER], "line 4: 10 columns instead of 9"),
        ([ENGLISH, ENGLISH, OTHER], "line 5: the code 'en' is already on line 4"),
        ([ENGLISH, "de\tGerman\ten\t\t\tspace\twhitespace\t\t", OTHER], "line 5: the label 'en' is already on line 4"),
        ([ENGLISH, "de\tGerman\tde\teng\t\tspace\twhitespace\t\t", OTHER], "line 5: the wordnet 'eng'"),
        ([ENGLISH, "de\tGerman\tde\t\t\tspace\twhitespace\ten\t", OTHER], "line 5: the site 'en'"),
        ([ENGLISH, "de\tGerman\tde\t\tfr\tspace\twhitespace\t\t", OTHER], "line 5: merged_into names 'fr'"),
        (
            [ENGLISH, "de\tGerman\tde\t\t\tspace\twhitespace\t\teng", OTHER],
            "line 5: the ISO 639-3 code 'eng' is already on line 4",
        ),
        ([ENGLISH.replace("space", "wide", 1), OTHER], "line 4: spacing is 'wide'"),
        ([ENGLISH.replace("English", ""), OTHER], "line 4: a row needs"),
        ([ENGLISH, "de\tGerman\t\t\t\tspace\twhitespace\t\t", OTHER], "line 5: no label maps to 'de'"),
        ([ENGLISH], "the row 'other'"),
    ],
)
def test_a_malformed_table_is_refused_with_file_and_line(tmp_path, rows, message):
    with pytest.raises(UsageError, match=r"languages\.tsv") as caught:
        load(tmp_path, *rows)
    assert message in str(caught.value)


def test_a_table_without_columns_or_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="line 3: the first row must name the columns"):
        load(tmp_path, header="wikipedia\tname")
    with pytest.raises(UsageError, match=r"cannot read the language table .*missing\.tsv"):
        LanguageTable.load(tmp_path / "missing.tsv")
