"""Embeddings of windows: which windows, and what the numbers say of points that one can see."""

import numpy as np
import pytest
import soundfile

from tests.conftest import synthesize
from tfrestore.audio.bandwidth import reduce_bandwidth
from tfrestore.data.degradation import parse_degradation
from tfrestore.data.tracks import open_folder
from tfrestore.errors import InputError, UsageError
from tfrestore.evaluation.embeddings import (
    COMPONENTS,
    draw_windows,
    embed_windows,
    map_points,
    measure_separability,
    principal_components,
)

pytest.importorskip("sklearn")

RATE = 8000
BANDWIDTH = parse_degradation("bandwidth:2")


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    soundfile.write(folder / "a.wav", synthesize(4, RATE, 1), RATE, "FLOAT")
    soundfile.write(folder / "b.wav", synthesize(9, RATE, 2), RATE, "FLOAT")
    soundfile.write(folder / "silent.wav", np.zeros(20 * RATE), RATE)
    return open_folder(folder)


def test_the_numbers_are_those_of_their_definitions():
    found = measure_separability(np.array([[0.0], [1.0]]), np.array([[10.0], [11.0]]))
    # A point's own cluster is 1 away from it, the other 10.5 or 9.5.
    assert found.silhouette == pytest.approx((9.5 / 10.5 + 8.5 / 9.5) / 2)
    assert found.neighbour_accuracy == 1
    # The intact window at 10 is the nearest one of both.
    assert found.retrieval == 0.5


def test_where_only_the_content_counts_every_window_finds_its_own():
    content = np.random.default_rng(0).normal(size=(40, 5))
    found = measure_separability(content, content + 1e-6)
    assert (found.retrieval, found.neighbour_accuracy) == (1, 0)
    assert found.silhouette == pytest.approx(0, abs=0.05)


def test_mixed_points_cannot_be_told_apart():
    mixed = np.random.default_rng(0).normal(size=(2, 400, 3))
    found = measure_separability(*mixed)
    # Five standard deviations of a binomial, whose trials are in pairs at worst.
    assert found.neighbour_accuracy == pytest.approx(0.5, abs=5 * (0.25 / 400) ** 0.5)
    assert found.silhouette == pytest.approx(0, abs=0.02)


def test_principal_components_are_those_of_the_singular_values():
    values = np.random.default_rng(0).normal(size=(70, 90)) * np.linspace(0.1, 3, 90)
    components, variance = principal_components(values.astype(np.float32), seed=0)
    left, singular, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    assert components.shape == (70, COMPONENTS)
    assert variance == pytest.approx((singular[:50] ** 2).sum() / (singular**2).sum(), rel=0.01)
    np.testing.assert_allclose(np.abs(components[:, 0]), np.abs(left[:, 0] * singular[0]), atol=0.1)
    assert principal_components(values[:5].astype(np.float32), seed=0)[0].shape == (5, 5)


def test_windows_are_those_of_the_tracks_and_never_silent(tracks):
    windows = draw_windows(tracks, BANDWIDTH, 12, 2048, RATE, seed=3)
    assert windows.degraded.shape == windows.intact.shape == (12, 2048)
    assert {track for track, _ in windows.places} == {"a", "b"}
    for number, (name, second) in enumerate(windows.places):
        (track,) = (track for track in tracks if track.track_id == name)
        waveform, _ = soundfile.read(track.path, dtype="float32")
        begin = round(second * RATE)
        np.testing.assert_array_equal(windows.intact[number], waveform[begin : begin + 2048])
        reduced = reduce_bandwidth(waveform[None], 2)[0, begin : begin + 2048]
        np.testing.assert_allclose(windows.degraded[number], reduced, atol=1e-4)


def test_a_window_depends_on_the_seed_and_its_number_only(tracks):
    some, more = (draw_windows(tracks, BANDWIDTH, count, 512, RATE, seed=3) for count in (3, 6))
    np.testing.assert_array_equal(some.intact, more.intact[:3])
    other = draw_windows(tracks, BANDWIDTH, 3, 512, RATE, seed=4)
    assert not np.array_equal(some.intact, other.intact)


def test_music_without_a_window_that_sounds_is_told_of(tracks):
    silent = [track for track in tracks if track.track_id == "silent"]
    with pytest.raises(InputError, match="windows in a row are silent .*silent.wav"):
        draw_windows(silent, BANDWIDTH, 1, 2048, RATE, seed=0)
    with pytest.raises(UsageError, match="gaps:frames exists in a spectrogram only"):
        draw_windows(tracks, parse_degradation("gaps:frames"), 1, 2048, RATE, seed=0)
    with pytest.raises(UsageError, match="a.wav is no MIDI file"):
        draw_windows(tracks, parse_degradation("instruments:0:4"), 1, 2048, RATE, seed=0)


def test_embeddings_are_joined_over_batches_and_flat():
    windows = np.arange(70 * 8, dtype=np.float32).reshape(70, 8)
    found = embed_windows(lambda batch: 2 * batch.reshape(-1, 4, 2), windows)
    np.testing.assert_array_equal(found, 2 * windows)


def test_a_map_keeps_clusters_apart_and_the_same_seed_draws_it_again():
    clusters = np.random.default_rng(0).normal(0, 0.1, (30, 4))
    clusters[15:] += 10
    positions = map_points(clusters.astype(np.float32), perplexity=5, seed=1)
    assert measure_separability(positions[:15], positions[15:]).neighbour_accuracy == 1
    np.testing.assert_array_equal(
        positions, map_points(clusters.astype(np.float32), perplexity=5, seed=1)
    )
