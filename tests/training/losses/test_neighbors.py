from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.losses.neighbors import TextBank


def numbered(first: int, count: int) -> torch.Tensor:
    return torch.arange(first, first + count).float()[:, None].expand(-1, 2)


@given(size=st.integers(1, 6), counts=st.lists(st.integers(0, 9), max_size=8))
def test_a_bank_holds_the_newest_texts_once_each(size, counts):
    bank = TextBank(size, 2)
    initial = bank.rows[:, 0].tolist()
    added = []
    for count in counts:
        bank.add(numbered(1000 + len(added), count))
        added += range(1000 + len(added), 1000 + len(added) + count)
    newest = [float(number) for number in added[-size:]]
    left = initial[len(newest) :] if len(added) < size else []
    assert sorted(bank.rows[:, 0].tolist()) == sorted([*left, *newest])


def test_the_bank_is_part_of_the_saved_state():
    bank, other = TextBank(4, 2), TextBank(4, 2)
    bank.add(numbered(5, 3))
    other.load_state_dict(bank.state_dict())
    assert torch.equal(other.rows, bank.rows)
    assert int(other.pointer) == 3


def test_the_nearest_row_does_not_depend_on_the_length_of_a_text():
    bank = TextBank(3, 2)
    bank.rows.copy_(torch.eye(3)[:, :2])
    texts = torch.tensor([[0.1, 0.01], [3.0, 40.0]], requires_grad=True)
    nearest = bank.nearest(texts)
    assert nearest.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert not nearest.requires_grad
