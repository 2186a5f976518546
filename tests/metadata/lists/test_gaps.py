from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from metadata.limits import Limits
from metadata.lists.gaps import describe_gaps, find_gaps

ORIGINS = ["number", "wordnet", "unigram", "bigram", "title"]
CODES = ["af", "de", "ltg", "zh"]
FOUND = st.dictionaries(
    st.sampled_from(CODES), st.sets(st.sampled_from(ORIGINS)).map(lambda found: dict.fromkeys({"number", *found}, 1))
)


@given(FOUND, st.sets(st.sampled_from(CODES)))
def test_every_language_without_a_source_is_named_unless_a_cap_excludes_it(found, without_titles):
    limits = {code: Limits(title_cap=0 if code in without_titles else 9) for code in CODES}
    gaps = find_gaps(found, found, limits)
    assert gaps == {
        "dump": [code for code in found if not {"unigram", "bigram"} & set(found[code])],
        "page_views": [code for code in found if "title" not in found[code] and code not in without_titles],
        "wordnet": [code for code in found if "wordnet" not in found[code]],
        "numbers_only": [code for code in found if set(found[code]) == {"number"}],
    }
    said = "\n".join(describe_gaps(gaps, len(found), {"de": "German"}))
    for code in {code for codes in gaps.values() for code in codes}:
        assert {"de": "German (de)"}.get(code, code) in said
    assert bool(said) == any(gaps.values())


def test_long_lists_of_names_are_shortened_in_the_log_only():
    gaps = {"dump": [f"x{n}" for n in range(30)], "page_views": [], "wordnet": [], "numbers_only": []}
    [short] = describe_gaps(gaps, 40, {})
    [full] = describe_gaps(gaps, 40, {}, None)
    assert short.startswith("no words from a dump for 30 of 40 languages: x0, x1, ")
    assert short.endswith("x19 and 10 more")
    assert full.endswith("x28, x29")
