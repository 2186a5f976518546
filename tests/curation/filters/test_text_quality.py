"""Cleaning and filters by looks, on real examples in several scripts."""

from __future__ import annotations

import pytest

from curation.filters.pii import MASKS, contains, masked
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
def test_controls_go_and_joiners_stay(text, clean):
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
def test_mojibake_is_seen_and_repaired(broken, meant):
    assert is_mojibake(broken)
    assert repaired(broken) == meant


@pytest.mark.parametrize("text", ["café", "Привет", "日本語", "ภาษาไทย", "Ångström", "São Paulo – 50 €", "plain"])
def test_what_is_right_is_left_alone(text):
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
def test_names_of_files_are_seen(text):
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
def test_texts_are_no_names_of_files(text):
    assert not is_file_name(text)


PERSONAL = {
    "email": [
        ("mail me: jane.doe+spam@mail.example.co.uk!", "mail me: [email]!"),
        ("почта иван@пример.рф сегодня", "почта [email] сегодня"),
        ("お問い合わせ info@example.jp", "お問い合わせ [email]"),
    ],
    "phone": [
        ("Call +49 30 1234567 now", "Call [phone] now"),
        ("тел. +7 (495) 123-45-67", "тел. [phone]"),
        ("電話 03-1234-5678", "電話 [phone]"),
        ("(030) 123 4567", "[phone]"),
        ("555-123-4567", "[phone]"),
        ("اتصل +966 50 123 4567", "اتصل [phone]"),
    ],
    "card": [
        ("card 4111 1111 1111 1111 exp", "card [card] exp"),
        ("карта 5500-0000-0000-0004", "карта [card]"),
        ("カード378282246310005", "カード[card]"),
    ],
}


@pytest.mark.parametrize(("kind", "text", "clean"), [(k, *case) for k, cases in PERSONAL.items() for case in cases])
def test_personal_data_are_masked(kind, text, clean):
    assert masked(kind, text) == clean
    assert contains(kind, text)
    assert masked(kind, clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "1920-1080", "2024-05-31", "ISBN 978-3-16-148410-0", "1939–1945", "3.14159265", "EUR 1.000.000", "50 000 000",
        "@handle", "a@b", "10:30-12:45", "4111 1111 1111 1112", "0000 0000 0000 0000", "№ 12345", "2023-2024 season",
        "価格 12,800円", "IP 192.168.100.200",
    ],
)  # fmt: skip
def test_other_numbers_are_not(text):
    assert {kind for kind in MASKS if contains(kind, text)} == set()
