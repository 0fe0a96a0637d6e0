"""Bandwidths of recordings, found in noise that a filter of SciPy's cut off."""

import numpy as np
import pytest
from scipy.signal import firwin, lfilter

from tests.data.stem_trees import write
from tfrestore.data.bandwidths import Bandwidths
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.stem_mixes import MixReader, StemMixes
from tfrestore.errors import AudioFileError


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A second of white noise: whole, cut off at two frequencies, and at half the sample rate."""
    folder = tmp_path_factory.mktemp("recordings")
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 44100))
    for name, frequency in (("whole", None), ("vorbis", 18300), ("mp3", 10100)):
        kept = noise
        if frequency:
            kept = lfilter(firwin(801, frequency, fs=44100, window=("kaiser", 9.0)), 1.0, noise)
        write(folder / f"{name}.wav", kept.astype("float32"), 44100)
    write(folder / "half.wav", noise.astype("float32"), 22050)
    return {track.path.stem: track for track in open_catalogue(folder)}


@pytest.mark.parametrize(
    ("name", "frequency"), [("whole", 22050), ("vorbis", 18300), ("mp3", 10100), ("half", 11025)]
)
def test_the_bandwidth_is_where_the_spectrum_ends(recordings, name, frequency):
    found = Bandwidths().find(recordings[name])
    assert frequency - 500 <= found <= frequency


def test_a_file_is_looked_at_once_and_one_that_cannot_be_decoded_is_named(recordings, tmp_path):
    bandwidths = Bandwidths()
    path = tmp_path / "gone.wav"
    write(path, np.zeros((1, 4410), "float32"), 44100)
    (track,) = open_catalogue(tmp_path)
    assert bandwidths.find(track) == 22050
    path.unlink()
    assert bandwidths.find(track) == 22050
    with pytest.raises(AudioFileError, match=r"gone\.wav"):
        Bandwidths().find(track)


def test_an_example_tells_the_least_bandwidth_of_what_was_mixed(recordings):
    mixes = StemMixes(
        samples=8192, mix_recordings=True, mixture_share=0, stems=(1, 4), with_bandwidth=True
    )
    reader = MixReader(mixes, list(recordings.values()), seed=1)
    expected = {track.path: Bandwidths().find(track) for track in recordings.values()}
    seen = set()
    for position in range(12):
        degraded, original, bandwidth = reader.read(position)
        parts = {part.track.path for part in reader.draws.draw(position).parts}
        assert bandwidth.dtype == np.float32
        assert bandwidth == np.float32(min(expected[path] for path in parts))
        assert degraded.shape == original.shape == (8192,)
        seen.add(float(bandwidth))
    assert len(seen) >= 2
    batch = next(iter(mixes.dataset(list(recordings.values()), 3, seed=1)))
    assert [tuple(part.shape) for part in batch] == [(3, 8192), (3, 8192), (3,)]
    assert float(batch[2][0]) == float(reader.read(0)[2])
