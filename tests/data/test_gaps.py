"""Gaps: the distributions the paper gives, and the same gaps everywhere."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrestore.data import gaps
from tfrestore.data.gaps import GAP_KINDS, gap_mask, waveform_gap_mask, waveform_gaps
from tfrestore.errors import UsageError

SPECTROGRAM_KINDS = ["frames", "window", "bands"]
MASK64 = 2**64 - 1


def philox_words(key, counter, count):
    """Philox4x64-10 in plain integers, from the paper of Salmon et al. (SC 2011)."""
    words = []
    while len(words) < count:
        counter += 1
        block = [(counter >> (64 * i)) & MASK64 for i in range(4)]
        key0, key1 = key
        for _ in range(10):
            product0, product1 = 0xD2E7470EE14C6C93 * block[0], 0xCA5A826395121157 * block[2]
            block = [
                (product1 >> 64) ^ block[1] ^ key0,
                product1 & MASK64,
                (product0 >> 64) ^ block[3] ^ key1,
                product0 & MASK64,
            ]
            key0, key1 = (key0 + 0x9E3779B97F4A7C15) & MASK64, (key1 + 0xBB67AE8584CAA73B) & MASK64
        words += block
    return words[:count]


def lost_places(mask, kind):
    """Bool (patches, 128): which frames (or bins) are lost; they are lost whole."""
    across = 1 if kind == "bands" else 2
    lost = ~mask
    assert (lost.any(axis=across) == lost.all(axis=across)).all()
    return lost.any(axis=across)


def runs(row):
    """How many stretches of True a bool row holds."""
    return int(np.sum(np.diff(row.astype(int), prepend=0) == 1))


@pytest.mark.parametrize("seed, index", [(0, 0), (7, 123456789), (2**64 - 1, 2**64 - 1)])
def test_frames_are_the_smallest_words_of_a_philox_stream_written_out_by_hand(seed, index):
    kind = int.from_bytes(hashlib.blake2b(b"frames", digest_size=8).digest(), "little")
    words = philox_words((seed, kind), index << 64, 129)
    count = 12 + (words[0] >> 11) * 77 // 2**53
    expected = np.zeros(128, bool)
    expected[sorted(range(128), key=lambda place: words[1 + place])[:count]] = True
    np.testing.assert_array_equal(
        lost_places(gap_mask("frames", seed, [index]), "frames")[0], expected
    )


def test_the_same_seed_gives_the_gaps_it_gave_when_these_numbers_were_written_down():
    digests = {
        kind: hashlib.sha256(
            np.packbits(gap_mask(kind, 2021, 5, patches=20)).tobytes()
        ).hexdigest()[:16]
        for kind in SPECTROGRAM_KINDS
    }
    assert digests == {
        "frames": "233e5df607ae6bd4",
        "window": "a12d7db530f550c2",
        "bands": "9eb180a0ff0f868a",
    }
    assert waveform_gaps(4000, 16000, 2021, 5).tolist() == [
        [504, 1059],
        [1076, 1656],
        [1723, 1915],
        [2125, 2711],
        [3005, 3367],
    ]


@pytest.mark.parametrize("kind", SPECTROGRAM_KINDS)
def test_the_mask_of_a_patch_does_not_depend_on_the_batch_it_is_in(kind):
    forwards = gap_mask(kind, 3, 40, patches=6)
    shuffled = [44, 40, 45, 41, 43, 42]
    np.testing.assert_array_equal(gap_mask(kind, 3, shuffled), forwards[[4, 0, 5, 1, 3, 2]])
    np.testing.assert_array_equal(gap_mask(kind, 3, 42), forwards[2])
    np.testing.assert_array_equal(
        gap_mask(kind, 3, [[40, 43]], patches=3).shape, (1, 2, 3, 128, 128)
    )


@pytest.mark.parametrize("kind", SPECTROGRAM_KINDS)
def test_another_seed_another_index_or_another_kind_gives_other_gaps(kind):
    masks = [gap_mask(kind, 1, 0), gap_mask(kind, 2, 0), gap_mask(kind, 1, 1)]
    assert len({mask.tobytes() for mask in masks}) == 3
    counts = gap_mask("frames", 1, 0, patches=50)[:, :, 0].sum(axis=1)
    assert (counts != gap_mask("window", 1, 0, patches=50)[:, :, 0].sum(axis=1)).any()


def test_the_number_of_lost_frames_is_uniform_on_12_to_88():
    # 77 equally likely values: Pearson's statistic over 7700 draws has mean 76 and variance 2 * 76,
    # so six standard deviations above the mean is a bound no uniform generator meets by chance.
    counts = lost_places(gap_mask("frames", 0, 0, patches=7700), "frames").sum(axis=1)
    observed = np.bincount(counts, minlength=129)
    assert observed[:12].sum() == observed[89:].sum() == 0
    statistic = np.sum((observed[12:89] - 100) ** 2 / 100)
    assert 76 - 6 * np.sqrt(152) < statistic < 76 + 6 * np.sqrt(152)


def test_every_frame_is_lost_equally_often_and_frames_are_scattered():
    lost = lost_places(gap_mask("frames", 1, 0, patches=5000), "frames")
    # A frame is lost with probability 50 / 128; the standard deviation over 5000 patches is 0.0069.
    np.testing.assert_allclose(lost.mean(axis=0), 50 / 128, atol=5 * 0.0069)
    # k lost of n in random order make k (n - k + 1) / n stretches on average.
    count = lost.sum(axis=1)
    expected = (count * (128 - count + 1) / 128).mean()
    assert np.mean([runs(row) for row in lost]) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("kind", ["window", "bands"])
def test_windows_and_bands_are_one_to_four_stretches_of_10_to_70_percent(kind):
    lost = lost_places(gap_mask(kind, 0, 0, patches=4000), kind)
    share = lost.mean(axis=1)
    assert share.min() >= 0.1 and share.max() <= 0.7
    assert share.min() < 0.11 and share.max() > 0.69
    assert share.mean() == pytest.approx(51 / 128, abs=5 * 0.174 / np.sqrt(4000))
    stretches = np.bincount([runs(row) for row in lost], minlength=6)
    assert stretches[0] == stretches[5] == 0
    # Four equally likely numbers: standard deviation of each count is sqrt(4000 * 3 / 16) = 27.4.
    np.testing.assert_allclose(stretches[1:5], 1000, atol=5 * 27.4)


@given(
    kind=st.sampled_from(SPECTROGRAM_KINDS),
    seed=st.integers(0, MASK64),
    index=st.integers(0, 2**63),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(deadline=None, max_examples=150)
def test_any_shares_and_any_patch_size_give_a_mask_within_the_shares(
    kind, seed, index, shares, shape
):
    mask = gap_mask(kind, seed, index, patches=3, shares=tuple(shares), shape=shape)
    assert mask.shape == (3, *shape) and mask.dtype == bool
    counts = lost_places(mask, kind).sum(axis=1)
    length = shape[1] if kind == "bands" else shape[0]
    # Both ends are cut to integers, so the share may fall short by less than one frame or bin.
    assert (counts > shares[0] * length - 1 - 1e-6).all()
    assert (counts <= shares[1] * length + 1e-6).all()


@given(
    samples=st.integers(0, 50_000),
    sample_rate=st.sampled_from([1, 8000, 16000, 44100, 192000]),
    seed=st.integers(0, MASK64),
    index=st.integers(0, MASK64),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    milliseconds=st.tuples(st.floats(0.01, 200), st.floats(0.01, 200)).map(sorted),
)
@settings(deadline=None, max_examples=200)
def test_any_waveform_gets_separate_gaps_inside_it_that_cover_the_share(
    samples, sample_rate, seed, index, shares, milliseconds
):
    stretches = waveform_gaps(
        samples, sample_rate, seed, index, shares=tuple(shares), milliseconds=tuple(milliseconds)
    )
    assert stretches.shape[1:] == (2,) and stretches.dtype == np.int64
    starts, stops = stretches.T
    assert (stops > starts).all() and (starts[1:] >= stops[:-1]).all()
    assert ((starts >= 0) & (stops <= samples)).all()
    lost = int((stops - starts).sum())
    assert shares[0] * samples - 1 - 1e-6 < lost <= shares[1] * samples + 1e-6


def test_gaps_in_a_minute_of_sound_last_10_to_50_ms_and_are_spread_over_all_of_it():
    shares = []
    for index in range(60):
        stretches = waveform_gaps(960_000, 16000, 0, index)
        durations = np.diff(stretches, axis=1)
        assert durations.min() >= 160 and durations.max() <= 800
        assert (stretches[1:, 0] > stretches[:-1, 1]).all()
        lost = ~waveform_gap_mask(960_000, 16000, 0, index)
        assert lost.sum() == durations.sum()
        shares.append(lost.mean())
        # 100 gaps or more at independent places: no tenth of the minute can stay free of them.
        assert (lost.reshape(10, -1).mean(axis=1) > 0).all()
    assert min(shares) >= 0.1 and max(shares) <= 0.7
    assert np.mean(shares) == pytest.approx(0.4, abs=5 * 0.6 / np.sqrt(12 * 60))


def test_gaps_of_one_fixed_duration_all_last_that_long():
    stretches = waveform_gaps(160_000, 16000, 0, shares=(0.5, 0.5), milliseconds=(20.0, 20.0))
    assert (np.diff(stretches, axis=1) == 320).all() and len(stretches) == 250


@pytest.mark.parametrize("samples", [0, 1])
def test_a_waveform_too_short_to_lose_a_share_keeps_everything(samples):
    assert len(waveform_gaps(samples, 16000, 0)) == 0
    assert waveform_gap_mask(samples, 16000, 0).tolist() == [True] * samples


def test_every_kind_has_a_description_of_one_line():
    assert list(GAP_KINDS) == ["frames", "window", "bands", "waveform"]
    assert all(text and "\n" not in text for text in GAP_KINDS.values())
    assert gaps.PAPER_SHARES == (0.1, 0.7)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: gap_mask("holes", 0, 0), "holes"),
        (lambda: gap_mask("waveform", 0, 0), "waveform"),
        (lambda: gap_mask("frames", -1, 0), "seed -1"),
        (lambda: gap_mask("frames", 2**64, 0), "seed"),
        (lambda: gap_mask("frames", 0, -3), "-3"),
        (lambda: gap_mask("frames", 0, 2**64), "index"),
        (lambda: gap_mask("frames", 0, 0.5), "0.5"),
        (lambda: gap_mask("frames", 0, 0, patches=-1), "-1 patches"),
        (lambda: gap_mask("frames", 0, 0, shares=(0.7, 0.1)), "(0.7, 0.1)"),
        (lambda: gap_mask("frames", 0, 0, shares=(0.1, 1.5)), "1.5"),
        (lambda: gap_mask("frames", 0, 0, shares=(0.1, float("nan"))), "nan"),
        (lambda: gap_mask("frames", 0, 0, shape=(0, 128)), "(0, 128)"),
        (lambda: waveform_gaps(100, 0, 0), "0 Hz"),
        (lambda: waveform_gaps(100, 16000, 0, milliseconds=(50.0, 10.0)), "50.0"),
        (lambda: waveform_gaps(100, 16000, 0, milliseconds=(0.0, 10.0)), "0.0"),
    ],
)
def test_a_request_out_of_range_is_one_sentence_that_names_the_number(call, named):
    with pytest.raises(UsageError) as caught:
        call()
    assert named in str(caught.value) and "\n" not in str(caught.value)
