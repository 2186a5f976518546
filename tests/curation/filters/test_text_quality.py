"""Cleaning and filters by the form of a text, on real examples in several scripts."""

from __future__ import annotations

import pytest

from curation.filters.text_quality import is_file_name, is_mojibake, repaired, without_controls, without_entities


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("caf&#233; &quot;Zürich&quot;", 'café "Zürich"'),
        ("&amp;eacute;t&amp;eacute;", "été"),
        ("&#x5317;&#x4EAC;", "北京"),
        ("R&D, AT&T", "R&D, AT&T"),
        ("مرحبا &laquo;العالم&raquo;", "مرحبا «العالم»"),
    ],
)
def test_entities_become_characters(text, clean):
    assert without_entities(text) == clean
    assert without_entities(clean) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\u0000b\u0007c", "abc"),
        ("zero\u200bwidth \ufeffmark", "zerowidth mark"),
        ("\u202bשלום\u202c", "שלום"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d👧 family", "👩\u200d👧 family"),
        ("soft\u00adhyphen", "softhyphen"),
        ("日本語 です", "日本語 です"),
    ],
)
def test_control_characters_are_removed_but_joiners_stay(text, clean):
    assert without_controls(text) == clean


@pytest.mark.parametrize(
    ("broken", "meant"),
    [
        ("cafÃ© du coin", "café du coin"),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚ Ð¼Ð¸Ñ€", "Привет мир"),
        ("â€œquotedâ€\x9d", "“quoted”"),
        ("æ—¥æœ¬èªž", "日本語"),
    ],
)
def test_mojibake_is_detected_and_repaired(broken, meant):
    assert is_mojibake(broken)
    assert repaired(broken) == meant


@pytest.mark.parametrize("text", ["café", "Привет", "日本語", "ภาษาไทย", "Ångström", "São Paulo – 50 €", "plain"])
def test_correct_texts_are_not_changed(text):
    assert repaired(text) == text
    assert not is_mojibake(text)


@pytest.mark.parametrize(
    "text",
    [
        "IMG_0023.jpg", "DSC01234", "DSCN0001.JPG", "image1", "photo (3)", "Screenshot 2024-05-31 at 10.22.33",
        "WhatsApp Image 2023-01-02 at 11.12.13.jpeg", "写真12", "фото_123", "изображение 5.png", "صورة 7", "logo.svg",
        "my-holiday-photo.webp", "красивый закат.jpg", "猫.png", "bild3", "d41d8cd98f00b204e9800998ecf8427e",
        "123e4567-e89b-12d3-a456-426614174000", "20240531_112233", "1024-768", "banner.png?v=3", "รูปภาพ1",
    ],
)  # fmt: skip
def test_file_names_are_detected(text):
    assert is_file_name(text)


@pytest.mark.parametrize(
    "text",
    [
        "a red dog", "Photo of a cat", "写真", "фото кота", "2024",
        "the best png converter of the year is here.png now",
        "How to open .jpg files", "Image of the day", "猫の写真", "iPhone 15", "Windows 11", "a picture is 1000 words",
        "Boeing 747-8", "صورة قطة", "page 12", "deadbeef",
    ],
)  # fmt: skip
def test_other_texts_are_not_file_names(text):
    assert not is_file_name(text)
