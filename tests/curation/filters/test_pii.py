"""Personal data in several scripts is found and masked; other numbers are not."""

from __future__ import annotations

import pytest

from curation.filters.pii import MASKS, contains, masked

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
def test_personal_data_is_masked(kind, text, clean):
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
def test_other_numbers_are_not_masked(text):
    assert {kind for kind in MASKS if contains(kind, text)} == set()
