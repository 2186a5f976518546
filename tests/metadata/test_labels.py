from __future__ import annotations

import fasttext
import pytest

from curation.errors import UsageError
from curation.lid.identifier import LanguageIdentifier, labels_of
from metadata.labels import map_labels
from metadata.languages import LanguageTable

# The labels of OpenLID; NLLB's model has a few more of the same form.
OPENLID_LABELS = """
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab als_Latn amh_Ethi apc_Arab arb_Arab ars_Arab ary_Arab
arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn bel_Cyrl bem_Latn ben_Beng
bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn ckb_Arab crh_Latn
cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn ewe_Latn fao_Latn
fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gaz_Latn gla_Latn gle_Latn glg_Latn grn_Latn guj_Gujr hat_Latn
hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn ita_Latn jav_Latn
jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor kaz_Cyrl kbp_Latn kea_Latn khk_Cyrl khm_Khmr
kik_Latn kin_Latn kir_Cyrl kmb_Latn kmr_Latn knc_Arab knc_Latn kon_Latn kor_Hang lao_Laoo lij_Latn lim_Latn lin_Latn
lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn lvs_Latn mag_Deva mai_Deva mal_Mlym mar_Deva
min_Latn mkd_Cyrl mlt_Latn mni_Beng mos_Latn mri_Latn mya_Mymr nld_Latn nno_Latn nob_Latn npi_Deva nso_Latn nus_Latn
nya_Latn oci_Latn ory_Orya pag_Latn pan_Guru pap_Latn pbt_Arab pes_Arab plt_Latn pol_Latn por_Latn prs_Arab quy_Latn
ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn shn_Mymr sin_Sinh slk_Latn slv_Latn smo_Latn sna_Latn
snd_Arab som_Latn sot_Latn spa_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn swh_Latn szl_Latn tam_Taml taq_Latn
taq_Tfng tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tpi_Latn tsn_Latn tso_Latn tuk_Latn tum_Latn tur_Latn
twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn war_Latn wol_Latn xho_Latn ydd_Hebr
yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn zul_Latn
"""
OPENLID = OPENLID_LABELS.split()
SENTENCES = {
    "eng_Latn": "the quick brown fox jumps over the lazy dog near the river",
    "cmn_Hani": "红色的狗坐在椅子上 北京的照片",
    "srp_Cyrl": "црвени пас седи на столици поред куће",
    "srp_Latn": "crveni pas sedi na stolici pored kuće",
    "tha_Thai": "สุนัขสีแดงนั่งบนเก้าอี้ในบ้าน",
    "aaa_Latn": "zzyzx qwop xyzzy plugh frotz gnusto rezrov",
}


@pytest.fixture(scope="module")
def table():
    return LanguageTable.load()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a small fastText model with GlotLID's labels, including `aaa_Latn`, which belongs to no Wikipedia."""
    folder = tmp_path_factory.mktemp("model")
    lines = [f"__label__{label} {text}\n" for label, text in SENTENCES.items()]
    (folder / "train.txt").write_text("".join(lines * 20), encoding="utf-8")
    # ten threads, because each fills a tenth of the matrix: with one thread, the rest is uninitialized memory
    trained = fasttext.train_supervised(
        str(folder / "train.txt"), dim=8, epoch=50, lr=0.1, minn=2, maxn=3, bucket=2000, thread=10, verbose=0
    )
    trained.save_model(str(folder / "tiny.bin"))
    return folder / "tiny.bin"


def write(tmp_path, *lines):
    path = tmp_path / "labels.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_labels_of_the_default_model_follow_the_table(table):
    assert map_labels(table.label_to_lang, table) == table.label_to_lang


def test_every_label_of_openlid_is_mapped(table):
    found = map_labels(OPENLID, table)
    assert list(found) == OPENLID
    assert set(found.values()) <= set(table.keys)


@pytest.mark.parametrize(
    ("labels", "lang"),
    [
        ("eng_Latn", "en"),
        ("zho_Hans zho_Hant cmn_Hani cmn_Hans yue_Hant lzh_Hani nan_Hani", "zh"),
        ("srp_Cyrl srp_Latn", "sr"),
        ("pan_Guru", "pa"),
        ("pnb_Arab pan_Arab", "pnb"),
        ("arb_Arab acm_Arab apc_Arab ara_Arab", "ar"),
        ("arz_Arab", "arz"),
        ("als_Latn sqi_Latn", "sq"),
        ("gsw_Latn", "als"),
        ("nob_Latn nor_Latn", "no"),
        ("nno_Latn", "nn"),
        ("azj_Latn aze_Latn", "az"),
        ("azb_Arab", "azb"),
        ("kmr_Latn", "ku"),
        ("ekk_Latn est_Latn", "et"),
        ("pes_Arab prs_Arab", "fa"),
        ("zsm_Latn", "ms"),
        ("ydd_Hebr", "yi"),
        ("bod_Tibt", "bo"),
        ("cbk_Latn", "cbk_zam"),
        ("dzo_Tibt nan_Latn ltg_Latn lrc_Arab bem_Latn ary_Arab zxx_Zxxx und_Latn", "other"),
    ],
)
def test_language_and_script_determine_the_key(table, labels, lang):
    assert map_labels(labels.split(), table) == dict.fromkeys(labels.split(), lang)


def test_codes_in_the_table_have_the_form_of_iso_639_3(table):
    assert all(len(code.partition("_")[0]) == 3 and code[:3].islower() for code in table.iso_to_lang)
    assert len(table.iso_to_lang) > 330


def test_unknown_labels_are_left_out(table):
    assert map_labels(["aaa_Latn", "eng", "eng_Latin", "__eng_Latn", "en"], table) == {"en": "en"}


def test_the_file_takes_precedence_and_its_star_comes_last(table, tmp_path):
    path = write(tmp_path, "# ours", "", "__label__eng_Latn\tother", "aaa_Latn\tde", "yue_Hant\tzh_yue", "*\tother")
    labels = ["eng_Latn", "aaa_Latn", "yue_Hant", "bbb_Latn", "fra_Latn", "en"]
    langs = ["other", "de", "zh", "other", "fr", "en"]
    assert map_labels(labels, table, path) == dict(zip(labels, langs, strict=True))


def test_a_warning_names_labels_of_the_file_that_the_model_lacks(table, tmp_path, caplog):
    assert map_labels(["en"], table, write(tmp_path, "eng_Latin\ten", "*\tother")) == {"en": "en"}
    assert "labels that the model does not have: eng_Latin" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("aaa_Latn de", "line 2: not a label, a tab and a language key"),
        ("aaa_Latn\tde\tx", "line 2: not a label, a tab and a language key"),
        ("\tde", "line 2: not a label, a tab and a language key"),
        ("aaa_Latn\txx", "line 2: unknown language 'xx'"),
        ("en\tde", "line 2: the label 'en' occurs twice"),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(table, tmp_path, line, message):
    with pytest.raises(UsageError, match=r"match\.lid_labels: .*labels\.tsv, ") as error:
        map_labels(["en"], table, write(tmp_path, "en\tde", line))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(table, tmp_path):
    with pytest.raises(UsageError, match=r"match\.lid_labels: cannot read .*absent"):
        map_labels([], table, tmp_path / "absent")


def test_a_model_with_iso_labels_identifies_language_keys(table, model, tmp_path):
    labels = labels_of(model)
    with pytest.raises(UsageError, match=r"labels without a language \(1\): aaa_Latn;"):
        LanguageIdentifier(model, map_labels(labels, table))
    mapping = map_labels(labels, table, write(tmp_path, "*\tother"))
    langs, scores = LanguageIdentifier(model, mapping).identify(list(SENTENCES.values()))
    assert langs == ["en", "zh", "sr", "sr", "th", "other"]
    assert min(scores) > 0.5
