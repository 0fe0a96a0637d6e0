import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from tfrestore.candidates import candidate_noise, checked_noise, read_noise
from tfrestore.errors import UsageError


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**64 - 1), st.integers(1, 100))
@settings(deadline=None, max_examples=50)
def test_a_candidates_noise_is_philox_through_the_inverse_normal_distribution(
    seed, candidate, size
):
    # The key is the seed in the lower and the candidate in the upper 64 bits.
    words = np.random.Philox(key=seed + (candidate << 64)).random_raw(size)
    fractions = [(int(word) // 2**12 + 0.5) / 2**52 for word in words]
    noise = candidate_noise(seed, candidate, size)
    assert noise.dtype == np.float32 and noise.shape == (size,)
    np.testing.assert_allclose(noise, norm.ppf(fractions), rtol=1e-6, atol=1e-12)


def test_noise_is_standard_normal_and_candidates_have_nothing_in_common():
    vectors = np.stack([candidate_noise(seed, c, 64) for seed in range(10) for c in range(1, 21)])
    assert kstest(vectors.ravel(), "norm").pvalue > 0.01
    correlation = np.corrcoef(vectors)
    # Of 19900 pairs, none of two independent vectors of 64 values is so alike.
    assert np.abs(correlation - np.eye(len(vectors))).max() < 6 / np.sqrt(64)


def test_a_shorter_vector_is_the_beginning_of_a_longer_one():
    np.testing.assert_array_equal(candidate_noise(7, 3, 64)[:10], candidate_noise(7, 3, 10))


@pytest.mark.parametrize(
    ("seed", "candidate", "said"),
    [(-1, 1, "seed -1"), (2**64, 1, "seed"), (0, 0, "candidate 0"), (0, 2**64, "candidate")],
)
def test_numbers_out_of_range_are_refused(seed, candidate, said):
    with pytest.raises(UsageError, match=said):
        candidate_noise(seed, candidate, 4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8"])
def test_noise_by_hand_may_be_of_any_floats(dtype):
    checked = checked_noise(np.array([0.5, -2.0, 0.25], dtype), 3)
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, [0.5, -2.0, 0.25])


BAD = [
    (np.zeros(63), "shape (63,)"),
    (np.zeros((1, 64)), "shape (1, 64)"),
    (np.zeros((64, 1)), "shape (64, 1)"),
    (np.float64(1), "shape ()"),
    (np.zeros(0), "shape (0,)"),
    (np.zeros(64, int), "dtype int64"),
    (np.zeros(64, complex), "dtype complex128"),
    (np.zeros(64, bool), "dtype bool"),
    (np.full(64, "x"), "dtype <U1"),
    (np.full(64, np.nan), "NaN"),
    (np.full(64, -np.inf), "infinite"),
    (np.full(64, 1e300), "beyond float32"),
]


@pytest.mark.parametrize(("noise", "said"), BAD)
def test_noise_that_cannot_be_used_is_refused_in_one_line(noise, said):
    with pytest.raises(UsageError) as refused:
        checked_noise(noise, 64)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def write_bytes(path, data):
    path.write_bytes(data)
    return path


def saved(*arrays, save=np.save):
    file = io.BytesIO()
    save(file, *arrays)
    return file.getvalue()


def test_a_file_gives_the_vector_that_was_saved(tmp_path):
    noise = candidate_noise(7, 3, 64)
    for array in (noise, noise.astype(float)):
        np.testing.assert_array_equal(
            read_noise(write_bytes(tmp_path / "z.npy", saved(array))), noise
        )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not one array"),
        (b"text", "not one array"),
        (saved(np.zeros(4))[:-8], "not one array"),
        (saved(np.zeros(4)).replace(b"(4,), }", b"(9999999999999,), }"), "not one array"),
        (saved(np.zeros(4), save=np.savez), "not one array"),
        (saved(np.array([None, 1])), "not one array"),
        (saved(np.zeros((2, 2))), "shape (2, 2)"),
        (saved(np.array([0.0, np.nan])), "NaN"),
        (saved(np.arange(4)), "dtype int64"),
    ],
)
def test_a_file_that_holds_no_noise_is_named(tmp_path, data, said):
    path = write_bytes(tmp_path / "z.npy", data)
    with pytest.raises(UsageError) as refused:
        read_noise(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ") and said in message and "\n" not in message


def test_a_file_that_is_missing_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "missing.npy", tmp_path):
        with pytest.raises(UsageError, match=f"{path}: cannot be read"):
            read_noise(path)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_damage_to_a_file_gives_a_vector_or_a_refusal(tmp_path_factory, data):
    intact = bytearray(saved(candidate_noise(0, 1, 8)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(intact) - 1))
        intact[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("noise") / "z.npy"
    path.write_bytes(intact[: data.draw(st.integers(0, len(intact)))])
    try:
        noise = read_noise(path)
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert noise.ndim == 1 and np.isfinite(noise).all()
