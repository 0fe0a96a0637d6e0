import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from tfrestore.layers.sliding_window import slide


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 100))
@settings(deadline=None, max_examples=40)
def test_each_element_combines_its_window_and_the_order_does_not_matter(width, length, seed):
    values = np.random.default_rng(seed).integers(-9, 9, (2, length, 3)).astype("float32")
    windows = max(0, length - width + 1)
    for combine, whole in ((ops.add, np.sum), (ops.maximum, np.max)):
        result = np.asarray(slide(values, width, combine))
        assert result.shape == (2, windows, 3)
        for t in range(windows):
            np.testing.assert_array_equal(result[:, t], whole(values[:, t : t + width], axis=1))
