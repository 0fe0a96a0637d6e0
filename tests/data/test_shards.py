"""Shards: the pairs of the on-the-fly path, kept, and refused where they are not what was kept."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_mp3_pairs import SAMPLES, batches, make_track, same, tracks  # noqa: F401
from tfrestore.data.mp3_pairs import Mp3Pairs, listening_pair
from tfrestore.data.pipeline import GapExamples, decoding_error
from tfrestore.data.preparation import prepare_pairs
from tfrestore.data.shards import open_shards, open_training_data, read_pair
from tfrestore.data.tracks import Catalogue
from tfrestore.errors import AudioFileError, UsageError

PAIRS = Mp3Pairs([16, 64], samples=SAMPLES)


@pytest.fixture(scope="module")
def music(tracks):  # noqa: F811
    return Catalogue(tracks, "the music")


@pytest.fixture(scope="module")
def kept(music, tmp_path_factory):
    """A folder of shards, and the same again to be damaged."""
    folder = tmp_path_factory.mktemp("pairs") / "kept"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfrestore.data.preparation.PAIRS_PER_SHARD", 15)
        prepare_pairs(music, ["train"], PAIRS, folder, jobs=2)
    return folder


@pytest.fixture
def copy(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "copy")


@pytest.mark.parametrize("order", ["random", "file"])
@pytest.mark.parametrize("rates", [16, 64, [64, 16]])
def test_shards_give_the_examples_of_the_music_itself_bit_for_bit(kept, music, order, rates):
    pairs = dataclasses.replace(PAIRS, order=order, kbit_per_second=rates)
    prepared = open_training_data(str(kept)).require("train")
    assert pairs.count(prepared) == pairs.count(music)
    count = pairs.count(music) // 4 + 2
    on_the_fly = batches(pairs, music, seed=5, count=count)
    assert same(batches(pairs, prepared, seed=5, count=count), on_the_fly)
    assert same(batches(pairs, prepared, seed=5, start=7, count=count - 7), on_the_fly[7:])


def test_a_folder_of_music_is_opened_too(tmp_path):
    make_track(tmp_path, "song.wav", 1)
    assert [track.track_id for track in open_training_data(tmp_path)] == ["song"]


def test_tracks_keep_what_the_catalogue_knows_of_them(kept, music):
    prepared = open_shards(kept)
    assert prepared.source == str(kept) and len(prepared) == len(music)
    for ours, theirs in zip(prepared, music, strict=True):
        for name in ("track_id", "sample_rate", "channels", "frames", "genre", "split"):
            assert getattr(ours, name) == getattr(theirs, name)
        assert ours.begins == tuple(PAIRS.begins(theirs))


def test_two_tracks_of_one_name_are_kept_apart(tmp_path, music):
    twins = [dataclasses.replace(track, track_id="twin") for track in music[:2]]
    prepare_pairs(Catalogue(twins, "twins"), ["train"], PAIRS, tmp_path / "pairs", jobs=2)
    prepared = open_shards(tmp_path / "pairs")
    assert [track.track_id for track in prepared] == ["twin", "twin"]
    assert same(batches(PAIRS, prepared), batches(PAIRS, music[:2]))


def test_any_tensorflow_program_reads_the_records(kept, music):
    shards = sorted(map(str, kept.glob("train-*.tfrecord")))
    assert len(shards) == 3
    features = {
        "track": tf.io.FixedLenFeature([], tf.string),
        "begin": tf.io.FixedLenFeature([], tf.int64),
        "original": tf.io.FixedLenFeature([], tf.string),
        "mp3_16": tf.io.FixedLenFeature([], tf.string),
        "mp3_16_lead": tf.io.FixedLenFeature([], tf.int64),
    }
    found = list(
        tf.data.TFRecordDataset(shards).map(lambda r: tf.io.parse_single_example(r, features))
    )
    excerpts = [(track.track_id, begin) for track in music for begin in PAIRS.begins(track)]
    assert [(e["track"].numpy().decode(), int(e["begin"])) for e in found] == excerpts
    expected = batches(dataclasses.replace(PAIRS, order="file"), music, 1, count=len(excerpts))
    for each, (_, original) in zip(found, expected, strict=True):
        sound = tf.cast(tf.io.decode_raw(each["original"], tf.int16), tf.float32) / 32768
        np.testing.assert_array_equal(sound, original[0])
        assert each["mp3_16"].numpy()[0] == 0xFF and int(each["mp3_16_lead"]) <= each["begin"]


def test_the_pair_to_listen_to_is_kept_too(kept, music):
    for ours, theirs in zip(
        listening_pair(open_shards(kept), 44100, 64), listening_pair(music, 44100, 64), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(AudioFileError, match="holds no pair to listen to"):
        listening_pair(open_shards(kept)[4:], 44100, 64)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_changed_byte_is_refused_with_the_shards_name_or_changes_nothing(
    kept, tmp_path_factory, data
):
    folder = tmp_path_factory.mktemp("damaged") / "pairs"
    shutil.copytree(kept, folder)
    shard = folder / "train-00001-of-00003.tfrecord"
    content = bytearray(shard.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    shard.write_bytes(content)
    records = [record for track in open_shards(folder) for record in track.records]
    intact = [record for track in open_shards(kept) for record in track.records]
    for ours, theirs in zip(records, intact, strict=True):
        try:
            pair = read_pair(ours)
        except AudioFileError as error:
            assert ours.shard == shard and str(error).startswith(f"{shard}: this shard is damaged")
            assert ours.offset <= place < ours.offset + ours.length
        else:
            assert not ours.offset <= place < ours.offset + ours.length or ours.shard != shard
            assert np.array_equal(pair.original, read_pair(theirs).original)


def test_damage_ends_a_run_with_one_line_that_names_the_shard(copy):
    shard = copy / "train-00000-of-00003.tfrecord"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(tf.errors.OpError) as caught:
        batches(PAIRS, open_shards(copy), count=15)
    message = str(decoding_error(caught.value))
    assert message.startswith(f"{shard}: this shard is damaged") and "\n" not in message


def test_a_shard_that_goes_away_while_it_is_read_is_named(copy):
    record = open_shards(copy)[0].records[0]
    record.shard.unlink()
    with pytest.raises(AudioFileError, match="train-00000.* cannot be read .No such file"):
        read_pair(record)


@pytest.mark.parametrize("damage", ["missing", "cut off", "no index", "half an index", "a list"])
def test_a_shard_that_is_not_all_there_is_refused_when_it_is_opened(copy, damage):
    shard = copy / "train-00002-of-00003.tfrecord"
    index = shard.with_suffix(".json")
    if damage == "missing":
        shard.unlink()
    elif damage == "cut off":
        shard.write_bytes(shard.read_bytes()[:-1])
    elif damage == "no index":
        index.unlink()
    else:
        index.write_text(index.read_text()[:100] if damage == "half an index" else "[1, 2]")
    with pytest.raises(UsageError, match=f"{shard}: this shard is missing") as caught:
        open_training_data(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"samples": 4096}, r"samples per excerpt 16384, but 4096 .* --excerpt-samples 4096"),
        ({"sample_rate": 48000}, r"sample rate 44100, but 48000 .* --sample-rate 48000"),
        ({"kbit_per_second": 32}, r"16, 64 kbit/s, not of 32; .* --degradation mp3:32,"),
        ({"kbit_per_second": [16, 32, 48]}, "not of 32, 48; .* --degradation mp3:32 mp3:48,"),
    ],
)
def test_pairs_of_other_settings_are_refused_with_a_sentence(kept, changes, message):
    pairs = dataclasses.replace(PAIRS, **changes)
    with pytest.raises(UsageError, match=f"^{kept}: these pairs have .*{message}"):
        pairs.dataset(open_shards(kept), 4, seed=0)


def test_listening_to_a_rate_that_was_not_prepared_is_refused(kept):
    with pytest.raises(UsageError, match="--degradation mp3:32"):
        listening_pair(open_shards(kept), 44100, 32)


def test_a_model_that_learns_from_music_with_gaps_refuses_pairs(kept):
    with pytest.raises(UsageError, match=f"{kept}: these are pairs of music and MP3"):
        GapExamples().dataset(open_shards(kept), 4, seed=0)


def test_pairs_that_are_not_complete_are_refused(copy):
    manifest = json.loads((copy / "mp3_pairs.json").read_text())
    (copy / "mp3_pairs.json").write_text(json.dumps({**manifest, "is_complete": False}))
    with pytest.raises(UsageError, match=f"{copy}: these pairs are not complete"):
        open_training_data(copy)
    (copy / "mp3_pairs.json").unlink()
    with pytest.raises(UsageError, match="mp3_pairs.json is missing"):
        open_shards(copy)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(deadline=None, max_examples=40)
@given(key=st.sampled_from(["format", "settings", "shards", "tracks", "all"]), value=ANYTHING)
def test_a_manifest_that_says_anything_else_is_refused_with_its_name(
    kept, tmp_path_factory, key, value
):
    folder = tmp_path_factory.mktemp("odd")
    manifest = json.loads((kept / "mp3_pairs.json").read_text())
    text = json.dumps(value if key == "all" else {**manifest, key: value})
    (folder / "mp3_pairs.json").write_text(text)
    try:
        # Without shards or without tracks there is nothing, and all else makes no sense.
        assert not open_shards(folder) and not value
    except UsageError as error:
        assert str(folder) in str(error) and "\n" not in str(error)


def test_prepared_pairs_do_not_tell_their_bandwidth(kept):
    pairs = dataclasses.replace(PAIRS, with_bandwidth=True)
    with pytest.raises(UsageError, match="do not tell their bandwidth; give the music itself"):
        pairs.dataset(open_shards(kept), 1, 0)
