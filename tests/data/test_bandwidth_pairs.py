"""Bandwidth pairs: stretches of the whole track and of its degraded version."""

import numpy as np
import pytest

from tests.data.test_mp3_pairs import batches, examples, make_track, same
from tfrestore.audio.bandwidth import reduce_bandwidth
from tfrestore.audio.reading import read
from tfrestore.audio.resampling import resample
from tfrestore.data.bandwidth_pairs import BandwidthPairs
from tfrestore.data.excerpt_pairs import PairReader
from tfrestore.errors import UsageError


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracks")
    return [
        make_track(folder, "mono.wav", 1.5),
        make_track(folder, "wide.flac", 1.0, 48000, 2, "PCM_24"),
        make_track(folder, "short.wav", 0.1),
    ]


@pytest.mark.parametrize("factor", [2, 3, 4, 6])
def test_a_pair_is_that_stretch_of_the_whole_track_and_of_its_reduced_version(tracks, factor):
    pairs = BandwidthPairs(factor, order="file")
    degraded, originals = examples(pairs, tracks, 1, count=pairs.count(tracks))
    number = 0
    for track in tracks:
        waveform, rate = read(track.path)
        heard = resample(waveform.mean(axis=0, keepdims=True), rate, 44100)
        # The track is followed by silence, as an excerpt that reaches beyond its end is.
        heard = np.pad(heard, ((0, 0), (0, 8192)))
        reduced = reduce_bandwidth(heard, factor)
        for begin in pairs.begins(track):
            inside = slice(begin, begin + 8192)
            np.testing.assert_allclose(originals[number], heard[0, inside], atol=2e-6)
            np.testing.assert_allclose(degraded[number], reduced[0, inside], atol=1e-5)
            number += 1
    assert number == len(originals)


def test_several_factors_are_drawn_by_example_and_a_run_goes_on_anywhere(tracks):
    pairs = BandwidthPairs([2, 4, 6], samples=4096)
    found = batches(pairs, tracks, count=8)
    assert same(batches(pairs, tracks, start=5, count=3), found[5:])
    reader = PairReader(pairs, tracks, seed=0)
    drawn = [reader.variant(position) for position in range(32)]
    assert set(drawn) == {(2, 32), (4, 32), (6, 32)}
    for position, (factor, _) in enumerate(drawn[:8]):
        single = PairReader(BandwidthPairs(factor, samples=4096), tracks, seed=0)
        batch, row = divmod(position, 4)
        np.testing.assert_array_equal(found[batch][0][row], single.read(position)[0])


def test_what_is_left_can_be_rounded_as_files_are(tracks):
    pairs = BandwidthPairs(4, bits=[16, 32], order="file")
    assert pairs.variants == ((4, 16), (4, 32))
    (rounded, original), (exact, same) = (pairs.make(tracks[0], 2, each) for each in pairs.variants)
    assert rounded.dtype == np.float32 and np.array_equal(original, same)
    np.testing.assert_array_equal(rounded, np.round(exact * 2**15) / 2**15)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"factor": 5}, "choose one of 2, 3, 4, 6"),
        ({"factor": []}, "data.factor is empty"),
        ({"samples": 0}, "data.samples is 0"),
        ({"order": "sideways"}, "data.order is 'sideways'"),
    ],
)
def test_pairs_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        BandwidthPairs(**arguments)
