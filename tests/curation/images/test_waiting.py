from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from curation.images.waiting import WaitingRows


@given(st.lists(st.none() | st.binary(max_size=20)), st.integers(0, 60), st.data())
def test_rows_are_taken_as_they_were_put_in_any_order_and_with_any_memory(images, memory, data):
    left, expected = dict(enumerate(images)), dict[int, bytes | None]()
    with WaitingRows(memory) as rows:
        while left or expected:
            if left and (not expected or data.draw(st.booleans())):
                position, image = left.popitem()
                rows.put(position, {"image_id": str(position), "image": image})
                expected[position] = image
            else:
                position = data.draw(st.sampled_from(sorted(expected)))
                assert rows.take(position) == {"image_id": str(position), "image": expected.pop(position)}
            assert [position in rows for position in range(len(images))] == [
                position in expected for position in range(len(images))
            ]


def test_images_beyond_the_memory_do_not_occupy_it():
    with WaitingRows(memory=4 << 20) as rows:
        tracemalloc.start()
        try:
            for position in range(40):
                rows.put(position, {"image": bytes(1 << 20)})
            assert tracemalloc.get_traced_memory()[0] < 6 << 20
        finally:
            tracemalloc.stop()
