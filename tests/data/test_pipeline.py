"""The pipeline: every example is a function of (seed, position), whatever surrounds it."""

import dataclasses
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from tfrestore.audio.reading import read
from tfrestore.audio.resampling import resample, resampled_length
from tfrestore.audio.tf_decoding import tensorflow_io_available
from tfrestore.data.catalogue import open_catalogue
from tfrestore.data.gaps import gap_mask, waveform_gap_mask
from tfrestore.data.pipeline import ExcerptReader, GapExamples, PatchGeometry, decoding_error
from tfrestore.data.tracks import Track
from tfrestore.errors import UsageError

GEOMETRY = PatchGeometry(frames=16)
SMALL = GapExamples(geometry=GEOMETRY)


def make_track(folder, name, seconds, sample_rate=16000, channels=1, subtype=None):
    path = Path(folder) / name
    frames = round(seconds * sample_rate)
    noise = np.random.default_rng(len(name)).uniform(-0.5, 0.5, (frames, channels))
    soundfile.write(path, noise, sample_rate, subtype=subtype)
    return Track(path, path.stem, sample_rate, channels, frames, "unknown", "train")


def batches(examples, tracks, batch_size=4, seed=0, start=0, count=5):
    dataset = examples.dataset(tracks, batch_size, seed, start, count)
    return [(waveforms.numpy(), masks.numpy()) for waveforms, masks in dataset]


def whole(track, rate=16000):
    """The whole track as the network hears it: mixed, resampled."""
    waveform, own = read(track.path)
    return resample(waveform.mean(axis=0, keepdims=True), own, rate)[0]


def same(some, others):
    return len(some) == len(others) and all(
        np.array_equal(a, b)
        for pair in zip(some, others, strict=True)
        for a, b in zip(*pair, strict=True)
    )


@pytest.fixture(scope="module")
def tracks(tmp_path_factory):
    """Mono, stereo and eight channels, five rates, four formats, one shorter than an excerpt."""
    folder = tmp_path_factory.mktemp("tracks")
    return [
        make_track(folder, "mono.wav", 2, 16000),
        make_track(folder, "stereo.flac", 3, 44100, 2),
        make_track(folder, "many.wav", 1, 22050, 8, "PCM_24"),
        make_track(folder, "narrow.wav", 2, 8000, 1, "FLOAT"),
        make_track(folder, "wide.flac", 1, 96000, 2, "PCM_24"),
        make_track(folder, "lossy.ogg", 2, 48000, 2),
        make_track(folder, "short.wav", 0.05, 44100, 1),
    ]


@pytest.mark.parametrize("order", ["random", "file"])
def test_a_pipeline_that_starts_at_a_batch_gives_what_one_from_the_beginning_gives(tracks, order):
    examples = dataclasses.replace(SMALL, order=order, gaps=("frames", "waveform", "bands"))
    everything = batches(examples, tracks, count=12)
    for start in (1, 11):
        assert same(batches(examples, tracks, start=start, count=12 - start), everything[start:])
    assert same(batches(examples, tracks, count=12), everything)


def test_examples_depend_on_the_seed_and_not_on_the_size_of_batches(tracks):
    small, large = batches(SMALL, tracks, 4, count=6), batches(SMALL, tracks, 12, count=2)
    for part in range(2):
        np.testing.assert_array_equal(
            np.concatenate([batch[part] for batch in small]),
            np.concatenate([batch[part] for batch in large]),
        )
    other = batches(SMALL, tracks, 4, seed=1, count=6)
    assert not any(np.array_equal(a[0], b[0]) for a, b in zip(small, other, strict=True))
    assert not any(np.array_equal(a[1], b[1]) for a, b in zip(small, other, strict=True))


def test_an_excerpt_is_that_stretch_of_the_whole_resampled_track(tracks):
    reader = ExcerptReader(SMALL, tracks, seed=3)
    waveforms = np.concatenate([batch[0] for batch in batches(SMALL, tracks, 8, 3, count=15)])
    assert waveforms.shape == (60, GEOMETRY.samples(2))
    for position, waveform in enumerate(waveforms):
        track, first, _, offset = reader.plan(position)
        begin = first * 16000 // track.sample_rate + offset
        expected = np.pad(whole(track), (0, len(waveform)))[begin : begin + len(waveform)]
        np.testing.assert_allclose(waveform, expected, rtol=0, atol=1e-6, err_msg=track.track_id)
    seen = {reader.plan(position).track.track_id for position in range(60)}
    assert seen >= {track.track_id for track in tracks[:-1]}


def test_a_rate_that_shares_no_divisor_with_the_models_is_resampled_exactly_too(tmp_path):
    track = make_track(tmp_path, "prime.wav", 3, 44101)
    reader = ExcerptReader(SMALL, [track], seed=0)
    for position, waveform in enumerate(batches(SMALL, [track], 8, count=1)[0][0]):
        _, first, _, offset = reader.plan(position)
        assert first * 16000 % 44101 == 0
        begin = first * 16000 // 44101 + offset
        np.testing.assert_allclose(waveform, whole(track)[begin : begin + len(waveform)], atol=1e-5)


def test_a_track_that_is_shorter_than_an_excerpt_ends_in_zeros(tracks):
    short = tracks[-1]
    waveform = batches(SMALL, [short], 2, count=1)[0][0][0]
    heard = whole(short)
    np.testing.assert_array_equal(waveform[: len(heard)], heard)
    assert len(heard) < len(waveform) and not waveform[len(heard) :].any()


def test_random_order_weighs_tracks_by_duration_and_reaches_all_of_each(tmp_path):
    durations = {"a.wav": 2, "bb.wav": 6, "ccc.wav": 12}
    tracks = [make_track(tmp_path, name, seconds) for name, seconds in durations.items()]
    reader = ExcerptReader(SMALL, tracks, seed=0)
    plans = [reader.plan(position) for position in range(4000)]
    count = Counter(plan.track.duration for plan in plans)
    for seconds in durations.values():
        # Five standard deviations of a binomial, and the rounding of durations to excerpts.
        share = seconds / 20
        assert count[seconds] / 4000 == pytest.approx(share, abs=5 * (share / 4000) ** 0.5 + 0.01)
    begins = [plan.first + plan.offset for plan in plans if plan.track.duration == 12]
    last = 12 * 16000 - reader.samples
    assert max(begins) <= last
    tenths = np.histogram(begins, bins=10, range=(0, last))[0] / len(begins)
    np.testing.assert_allclose(tenths, 0.1, atol=5 * (0.1 / len(begins)) ** 0.5)


def test_file_order_enumerates_all_excerpts_once_per_epoch_track_by_track(tracks):
    examples = dataclasses.replace(SMALL, order="file", patches_per_excerpt=3)
    stride = 3 * 16 * 64
    expected = []
    for track in tracks:
        samples = resampled_length(track.frames, track.sample_rate, 16000)
        expected += [(track.track_id, k * stride) for k in range(max(1, samples // stride))]
    assert examples.excerpts_in(tracks) == len(expected)
    reader = ExcerptReader(examples, tracks, seed=0)
    found = []
    for position in range(2 * len(expected)):
        track, first, _, offset = reader.plan(position)
        found.append((track.track_id, first * 16000 // track.sample_rate + offset))
    assert found == expected * 2


def test_as_published_a_batch_is_the_58_patches_of_one_clip_in_order(tmp_path):
    # The clips of FMA last 30 s, which hold 58 patches of 512 ms and a part of one.
    tracks = [make_track(tmp_path, name, 30, 16000) for name in ("a.wav", "bb.wav")]
    examples = GapExamples(order="file", patches_per_excerpt=58)
    assert examples.excerpts_in(tracks) == 2
    for track, (waveforms, masks) in zip(
        tracks * 2, batches(examples, tracks, 58, count=4), strict=True
    ):
        assert masks.shape == (58, 128, 128, 1)
        np.testing.assert_array_equal(waveforms, whole(track)[None, : waveforms.shape[1]])


@pytest.mark.skipif(not tensorflow_io_available(), reason="tensorflow-io does not load here")
def test_tensorflow_io_and_soundfile_give_the_same_examples(tracks):
    found = [
        batches(dataclasses.replace(SMALL, use_tensorflow_io=choice), tracks, 12, count=6)
        for choice in (False, True, None)
    ]
    assert same(found[0], found[1]) and same(found[0], found[2])


@pytest.mark.parametrize("kind", ["frames", "window", "bands"])
def test_masks_are_the_gaps_of_consecutive_patches(tracks, kind):
    examples = dataclasses.replace(SMALL, gaps=kind, share_lost=(0.2, 0.4))
    masks = np.concatenate([batch[1] for batch in batches(examples, tracks, start=2, count=3)])
    expected = gap_mask(kind, 0, 8, patches=12, shares=(0.2, 0.4), shape=(16, 128))
    np.testing.assert_array_equal(masks[..., 0], expected)


def test_a_frame_that_touches_a_lost_sample_counts_as_lost():
    examples = GapExamples(gaps="waveform")
    geometry = examples.geometry
    mask = examples.masks("waveform", seed=5, index=7, patches=2)
    assert mask.shape == (2, 128, 128)
    kept = waveform_gap_mask(geometry.samples(2), 16000, 5, 7)
    for frame in range(256):
        intact = kept[frame * 64 : frame * 64 + 256].all()
        assert (mask[frame // 128, frame % 128] == intact).all()


def test_waveform_gaps_may_have_a_share_of_their_own():
    examples = dataclasses.replace(SMALL, gaps=("frames", "waveform"), waveform_share_lost=(0, 0))
    assert examples.masks("waveform", seed=0, index=0, patches=2).all()
    assert not examples.masks("frames", seed=0, index=0, patches=2).all()


def test_kinds_take_turns_excerpt_by_excerpt(tracks):
    examples = dataclasses.replace(SMALL, gaps=["frames", "bands"])
    masks = batches(examples, tracks, 8, count=1)[0][1][..., 0]
    whole_frames = (masks == masks[:, :, :1]).all(axis=(1, 2))
    np.testing.assert_array_equal(whole_frames, [True, True, False, False] * 2)


def test_the_networks_input_is_the_target_where_a_cell_is_kept_and_the_offset_where_not(tracks):
    from tfrestore.models.inpainter.network import UNet
    from tfrestore.models.inpainter.recipe import InpainterExamples
    from tfrestore.models.inpainter.restorer import InpainterRestorer

    restorer = InpainterRestorer(UNet(2, 1), input_scale=100.0, target_scale=50.0, offset=0.25)
    examples = InpainterExamples(restorer, gaps=["frames", "window", "bands", "waveform"])
    pairs = list(examples.dataset(tracks, 8, seed=0, batches=2))
    plain = list(examples.excerpts.dataset(tracks, 8, seed=0, batches=2))
    for (degraded, target), (waveforms, masks) in zip(pairs, plain, strict=True):
        assert degraded.shape == target.shape == (8, 128, 128, 1)
        kept = masks.numpy() == 1
        assert 0.05 < kept.mean() < 0.95
        np.testing.assert_array_equal(degraded.numpy()[~kept], np.float32(0.25))
        np.testing.assert_allclose(
            (degraded.numpy()[kept] - 0.25) * 100, (target.numpy()[kept] - 0.25) * 50, atol=1e-4
        )
        # Patch k of an excerpt starts k * 128 hops into it: an independent transform of one frame.
        for patch in range(8):
            begin = (patch % 2) * 128 * 64 + 5 * 64
            frame = waveforms[patch // 2, begin : begin + 256].numpy()
            window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
            angle = 2j * np.pi * np.outer(np.arange(256), np.arange(128)) / 255
            magnitude = np.abs((frame * window) @ np.exp(-angle))
            np.testing.assert_allclose(
                (target.numpy()[patch, 5, :, 0] - 0.25) * 50, magnitude, atol=2e-3
            )


def test_a_catalogue_of_all_kinds_of_files_is_read(music_folder, tmp_path):
    tracks = open_catalogue(music_folder).require("train")
    waveforms, masks = batches(GapExamples(), tracks, 8, count=1)[0]
    assert waveforms.shape == (4, 16576) and masks.shape == (8, 128, 128, 1)
    assert waveforms.dtype == masks.dtype == np.float32
    assert (np.abs(waveforms).max(axis=1) > 0.01).all()


@pytest.mark.parametrize(
    ("damage", "use_tensorflow_io"),
    [("missing", None), ("cut off", None), ("text", None), ("shorter", None), ("missing", False)],
)
def test_an_excerpt_that_cannot_be_decoded_is_replaced_and_its_track_named_once(
    tracks, tmp_path, caplog, damage, use_tensorflow_io
):
    bad = make_track(tmp_path, "bad.wav", 4)
    content = bad.path.read_bytes()
    if damage == "missing":
        bad.path.unlink()
    elif damage == "shorter":
        soundfile.write(bad.path, np.zeros(100), 16000)
    else:
        bad.path.write_bytes(content[:1000] if damage == "cut off" else b"This is not music.")
    examples = dataclasses.replace(SMALL, use_tensorflow_io=use_tensorflow_io)
    mixed = [*tracks[:2], bad]
    with caplog.at_level(logging.WARNING, "tfrestore.data"):
        found = batches(examples, mixed, count=12)
    named = [record for record in caplog.records if "bad.wav" in record.getMessage()]
    assert len([record for record in named if record.name == "tfrestore.data"]) == 1
    # The others are where they would be without the damage, and the replacements always the same.
    assert same(batches(examples, mixed, start=5, count=7), found[5:])
    bad.path.write_bytes(content)
    reader = ExcerptReader(examples, mixed, seed=0)
    intact = batches(examples, mixed, count=12)
    for position in range(24):
        batch, row = divmod(position, 2)
        if reader.plan(position).track is bad:
            assert found[batch][0][row].any()
        else:
            np.testing.assert_array_equal(found[batch][0][row], intact[batch][0][row])
        np.testing.assert_array_equal(found[batch][1], intact[batch][1])


def test_music_that_is_gone_altogether_is_one_line_that_names_a_file(tmp_path):
    track = make_track(tmp_path, "gone.wav", 4)
    track.path.unlink()
    with pytest.raises(tf.errors.OpError) as caught:
        batches(SMALL, [track])
    message = str(decoding_error(caught.value))
    assert message.startswith(f"{track.path} cannot be decoded") and "\n" not in message
    assert decoding_error(tf.errors.InternalError(None, None, "something else")) is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"gaps": "holes"}, "holes"),
        ({"gaps": []}, "data.gaps is empty"),
        ({"share_lost": (0.7, 0.1)}, "smaller first"),
        ({"share_lost": (0.1, 0.2, 0.3)}, "two numbers"),
        ({"order": "sideways"}, "data.order is 'sideways': choose one of random, file"),
        ({"patches_per_excerpt": 0}, "give at least 1"),
    ],
)
def test_examples_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        GapExamples(**arguments)


@pytest.mark.parametrize("batch_size", [0, 3])
def test_a_batch_that_would_cut_an_excerpt_is_refused(tracks, batch_size):
    with pytest.raises(UsageError, match="multiple of data.patches_per_excerpt, which is 2"):
        SMALL.dataset(tracks, batch_size, seed=0)


def test_a_dataset_without_an_end_goes_on_beyond_an_epoch(tracks):
    examples = dataclasses.replace(SMALL, order="file")
    endless = examples.dataset(tracks[-1:], 2, seed=0)
    found = [waveforms.numpy() for waveforms, _ in endless.take(3)]
    assert len(found) == 3 and all(np.array_equal(found[0], each) for each in found)
