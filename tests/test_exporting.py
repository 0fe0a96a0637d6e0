import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from tests.conftest import synthesize
from tfrestore.__main__ import main
from tfrestore.candidates import candidate_noise
from tfrestore.errors import InputError, UsageError
from tfrestore.exporting import export_restorer
from tfrestore.models.apollo.network import Apollo
from tfrestore.models.apollo.restorer import ApolloRestorer
from tfrestore.models.inception_wgan.network import InceptionGenerator
from tfrestore.models.inception_wgan.restorer import InceptionRestorer
from tfrestore.models.inpainter.network import UNet
from tfrestore.models.inpainter.restorer import InpainterRestorer
from tfrestore.restorer import Restorer

RATE = 16000

# Runs signatures where neither Keras nor this package can be imported.
SERVER = """
import sys
for name in ("keras", "tf_keras", "tfrestore", "tensorflow_io"):
    sys.modules[name] = None
import numpy as np
import tensorflow as tf
folder, inputs, outputs = sys.argv[1:]
loaded = tf.saved_model.load(folder)
results = {}
calls = {}
for key, value in np.load(inputs).items():
    signature, name, number = key.split("/")
    calls.setdefault((signature, number), {})[name] = tf.constant(value)
for (signature, number), arguments in calls.items():
    ((output, value),) = loaded.signatures[signature](**arguments).items()
    assert value.dtype == tf.float32
    results[f"{signature}/{number}/{output}"] = value.numpy()
np.savez(outputs, **results)
"""


def waveforms(batch, samples, rate=RATE):
    """Music with gaps, (batch, samples)."""
    music = np.stack([synthesize(2.0, rate, seed)[:samples] for seed in range(batch)])
    for start in range(3000, samples - 1000, 6000):
        music[:, start : start + 400] = 0
    return music


@pytest.fixture(scope="module")
def restorer(random_run):
    return Restorer.from_preset(random_run)


@pytest.fixture(scope="module")
def exported(restorer, tmp_path_factory):
    return export_restorer(restorer, tmp_path_factory.mktemp("models") / "inpainter")


@pytest.fixture(scope="module")
def stochastic(stochastic_run):
    return Restorer.from_preset(stochastic_run)


@pytest.fixture(scope="module")
def exported_stochastic(stochastic, tmp_path_factory):
    return export_restorer(stochastic, tmp_path_factory.mktemp("models") / "stochastic")


def test_a_process_with_only_tensorflow_gives_what_the_keras_model_gives(
    restorer, exported, tmp_path
):
    rng = np.random.default_rng(0)
    inputs, expected, changed = {}, {}, 0
    for batch, samples in [(1, 1), (2, 100), (1, 16000), (3, 20000), (2, 32000)]:
        waveform = inputs[f"serving_default/waveform/{batch}x{samples}"] = waveforms(batch, samples)
        expected[f"serving_default/{batch}x{samples}/restored"] = restorer(waveform)
        changed += not np.array_equal(restorer(waveform), waveform)
    for batch, frames in [(1, 128), (2, 50), (1, 1)]:
        magnitude = rng.uniform(0, 30, (batch, frames, 128)).astype("float32")
        inputs[f"spectrogram/magnitude/{batch}x{frames}"] = magnitude
        restored = restorer.restore_magnitude(magnitude)
        expected[f"spectrogram/{batch}x{frames}/magnitude"] = restored
        changed += not np.array_equal(restored, magnitude)
    assert changed >= 5
    check_server(exported, inputs, expected, tmp_path)


def check_server(exported, inputs, expected, tmp_path):
    """Checks that a process with only TensorFlow gives what is expected.

    Inputs are named signature/input/number, and what is expected signature/number/output.
    """
    np.savez(tmp_path / "inputs.npz", **inputs)
    done = subprocess.run(
        [sys.executable, "-c", SERVER, exported, tmp_path / "inputs.npz", tmp_path / "out.npz"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    results = np.load(tmp_path / "out.npz")
    assert set(results) == set(expected)
    for key, value in expected.items():
        value = keras.ops.convert_to_numpy(value)
        assert results[key].shape == value.shape
        np.testing.assert_allclose(results[key], value, atol=1e-4, rtol=1e-4)


def test_a_stochastic_model_has_a_signature_with_noise_beside_one_that_always_says_the_same(
    stochastic, exported_stochastic, tmp_path
):
    inputs, expected = {}, {}
    for number, (batch, samples) in enumerate([(1, 1), (3, 700), (2, 50000)]):
        waveform = waveforms(batch, samples, 44100)
        noise = np.stack([candidate_noise(7, each, 8) for each in range(1, batch + 1)])
        inputs[f"serving_default/waveform/{number}"] = waveform
        inputs[f"noise/waveform/{number}"] = waveform
        inputs[f"noise/noise/{number}"] = noise
        fixed = np.tile(candidate_noise(0, 1, 8), (batch, 1))
        expected[f"serving_default/{number}/restored"] = stochastic(waveform, fixed)
        expected[f"noise/{number}/restored"] = restored = stochastic(waveform, noise)
        if samples > 1000:
            recording = stochastic.restore(waveform[1], 44100, seed=7, candidate=2)
            np.testing.assert_allclose(restored[1], recording, atol=1e-4)
            assert np.abs(restored - stochastic(waveform)).max() > 1e-2
    check_server(exported_stochastic, inputs, expected, tmp_path)


@pytest.fixture(scope="module")
def apollo():
    network = Apollo(features=8, depth=1, heads=2, bands=8, band_bins=5, frame_length=98)
    return ApolloRestorer(network, chunk_seconds=0.5)


@pytest.fixture(scope="module")
def exported_apollo(apollo, tmp_path_factory):
    return export_restorer(apollo, tmp_path_factory.mktemp("models") / "apollo")


@pytest.fixture(scope="module")
def inception():
    network = InceptionGenerator(filters=8, depth=3, max_doublings=1)
    return InceptionRestorer(network, window_samples=1024, chunk_seconds=0.5)


@pytest.fixture(scope="module")
def exported_inception(inception, tmp_path_factory):
    return export_restorer(inception, tmp_path_factory.mktemp("models") / "inception")


def test_windows_that_overlap_are_cut_and_added_in_the_graph(
    inception, exported_inception, tmp_path
):
    inputs, expected = {}, {}
    for number, (batch, samples) in enumerate([(1, 1), (2, 511), (3, 5000)]):
        waveform = waveforms(batch, samples, 44100)
        inputs[f"serving_default/waveform/{number}"] = waveform
        expected[f"serving_default/{number}/restored"] = restored = inception(waveform)
        assert np.abs(restored - waveform).max() > 0.1 * np.abs(waveform).max()
    window = waveforms(2, inception.chunk_plan.window_samples, 44100)
    inputs["window/waveform/0"] = window
    expected["window/0/restored"] = inception.restore_window(window)
    check_server(exported_inception, inputs, expected, tmp_path)


@pytest.mark.parametrize(
    "which", ["exported", "exported_stochastic", "exported_apollo", "exported_inception"]
)
def test_of_no_samples_come_no_samples(which, request):
    signatures = tf.saved_model.load(str(request.getfixturevalue(which))).signatures
    for batch in (1, 3):
        restored = signatures["serving_default"](waveform=tf.zeros((batch, 0)))["restored"]
        assert restored.shape == (batch, 0)


@pytest.mark.parametrize(
    "which", ["exported", "exported_stochastic", "exported_apollo", "exported_inception"]
)
def test_only_tensorflows_own_graph_operations_are_used(which, request):
    exported = request.getfixturevalue(which)
    model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    nodes = [
        node
        for graph in model.meta_graphs
        for nodes in [graph.graph_def.node, *(f.node_def for f in graph.graph_def.library.function)]
        for node in nodes
    ]
    operations = {node.op for node in nodes}
    # What a waveform needs, and a WAV; one family hears no spectra.
    transforms = set() if which == "exported_inception" else {"RFFT", "IRFFT"}
    assert {*transforms, "DecodeRaw", "SerializeTensor"} <= operations
    assert not {op for op in operations if op_def_registry.get(op) is None}
    assert not {op for op in operations if "PyFunc" in op or ">" in op or "Xla" in op}
    assert not [node for node in nodes if node.attr["_XlaMustCompile"].b]


def as_wav(waveform, rate, **options):
    """The bytes of a WAV file, of samples (channels, n)."""
    file = io.BytesIO()
    soundfile.write(file, waveform.T, rate, format="WAV", **options)
    return file.getvalue()


@pytest.mark.parametrize("which", ["restorer", "stochastic", "apollo", "inception"])
def test_wav_files_are_restored_as_files_are(which, request):
    restorer = request.getfixturevalue(which)
    exported = {"restorer": "exported"}.get(which, f"exported_{which}")
    served = tf.saved_model.load(request.getfixturevalue(exported)).signatures["wav_bytes"]
    # Two chunks and a bit, one channel silent for a whole chunk; then another rate, one channel.
    seconds = 2.2 * restorer.chunk_seconds
    samples = int(seconds * restorer.sample_rate)
    stereo = np.stack([synthesize(seconds, restorer.sample_rate, each) for each in (0, 1)])
    stereo[0, samples // 3 : samples // 3 + 300] = 0
    stereo[1, samples // 3 :] = 0
    mono = waveforms(1, 5000, 22050)
    files = [
        as_wav(stereo, restorer.sample_rate, subtype="FLOAT"),
        as_wav(mono, 22050, subtype="PCM_24"),
    ]
    results = served(audio_bytes=tf.constant(files))["restored_bytes"].numpy()
    # The graph resamples by itself, so a recording of another rate may differ a little more, and
    # integers end at full scale.
    as_it_is, resampled = [soundfile.read(io.BytesIO(each), always_2d=True) for each in results]
    assert (as_it_is[1], resampled[1]) == (restorer.sample_rate, 22050)
    expected = restorer.restore(stereo, restorer.sample_rate)
    np.testing.assert_allclose(as_it_is[0].T, expected, atol=1e-4)
    expected = restorer.restore(mono, 22050)
    tolerance = 1e-3 * max(1, np.abs(expected).max())
    np.testing.assert_allclose(resampled[0].T, np.clip(expected, -1, 1), atol=tolerance)
    assert soundfile.info(io.BytesIO(results[1])).subtype == "PCM_24"


def test_a_wav_that_would_fill_the_memory_is_refused(exported):
    served = tf.saved_model.load(exported).signatures["wav_bytes"]
    # Five megabytes that would be eighty million samples at the model's rate.
    file = as_wav(np.zeros((1, 5_000_000)), 1000, subtype="PCM_U8")
    with pytest.raises(tf.errors.InvalidArgumentError, match="too long for one request"):
        served(audio_bytes=tf.constant([file]))


def test_windows_are_restored_as_recordings_windows_are(stochastic, exported_stochastic):
    functions = tf.saved_model.load(exported_stochastic).signatures
    length = stochastic.chunk_plan.window_samples
    windows = np.stack([synthesize(length / 44100 + 1, 44100, each)[:length] for each in (0, 1)])
    noise = np.stack([candidate_noise(3, each, 8) for each in (1, 2)])
    expected = stochastic.restore_window(windows, noise)
    restored = functions["window"](waveform=tf.constant(windows), noise=tf.constant(noise))
    np.testing.assert_allclose(restored["restored"], expected, atol=1e-5)
    (texts,) = functions["window_bytes"](
        waveform_bytes=tf.constant([window.tobytes() for window in windows]),
        noise=tf.constant(noise),
    ).values()
    as_floats = np.stack([np.frombuffer(text, "<f4") for text in texts.numpy()])
    np.testing.assert_allclose(as_floats, expected, atol=1e-5)
    # The windows at a recording's ends are shorter.
    short = stochastic.chunk_plan.grid_samples + 2 * stochastic.context_samples
    (texts,) = functions["window_bytes"](
        waveform_bytes=tf.constant([windows[0].tobytes(), windows[1, :short].tobytes()]),
        noise=tf.constant(noise),
    ).values()
    first, second = (np.frombuffer(text, "<f4") for text in texts.numpy())
    np.testing.assert_allclose(first, expected[0], atol=1e-5)
    expected = stochastic.restore_window(windows[1:, :short], noise[1:])
    np.testing.assert_allclose(second, expected[0], atol=1e-5)
    for wrong in (b"12345", b"", bytes(4 * length + 4)):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"1 to {length} float32"):
            functions["window_bytes"](
                waveform_bytes=tf.constant([wrong]), noise=tf.constant(noise[:1])
            )
    told = functions["properties"](query=tf.constant([7]))
    assert {name: value.numpy().tolist() for name, value in told.items()} == {
        "sample_rate": [44100],
        "chunk_samples": [stochastic.chunk_plan.chunk_samples],
        "context_samples": [stochastic.context_samples],
        "grid_samples": [stochastic.grid_samples],
        "reflects_ends": [1],
        "noise_size": [8],
        "accepts_gaps": [0],
    }


def test_tensorflows_c_library_runs_the_model_without_python_in_it(restorer, exported, tmp_path):
    waveform = waveforms(2, 20000)
    model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    signatures = model.meta_graphs[0].signature_def
    default, wav = signatures["serving_default"], signatures["wav_bytes"]
    np.save(tmp_path / "waveform.npy", waveform)
    (tmp_path / "in.wav").write_bytes(as_wav(waveform, RATE, subtype="FLOAT"))
    script = Path(__file__).with_name("run_through_c.py")
    tensors = [
        default.inputs["waveform"].name,
        default.outputs["restored"].name,
        wav.inputs["audio_bytes"].name,
        wav.outputs["restored_bytes"].name,
    ]
    done = subprocess.run(
        [sys.executable, script, exported, tmp_path, *tensors], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = keras.ops.convert_to_numpy(restorer(waveform))
    np.testing.assert_allclose(np.load(tmp_path / "restored.npy"), expected, atol=1e-4)
    restored, _ = soundfile.read(tmp_path / "out.wav")
    np.testing.assert_allclose(restored.T, restorer.restore(waveform, RATE), atol=1e-4)


def test_the_model_card_names_what_the_signatures_take_and_give(exported):
    card = (exported / "MODEL_CARD.md").read_text()
    for line in (
        "| input | `waveform` | float32 | [any, any] | samples at 16000 Hz, full scale 1, a channel"
        " per row |",
        "| input | `audio_bytes` | string | [any] | contents of a WAV file |",
        "| input | `magnitude` | float32 | [any, any, 128] |",
    ):
        assert line in card
    described = json.loads((exported / "assets.extra/signatures.json").read_text())
    loaded = tf.saved_model.load(exported).signatures
    assert set(described["signatures"]) == set(loaded)
    for name, function in loaded.items():
        _, inputs = function.structured_input_signature
        form = described["signatures"][name]
        assert form["description"]
        assert {key: (spec.dtype.name, spec.shape.as_list()) for key, spec in inputs.items()} == {
            key: (each["dtype"], each["shape"]) for key, each in form["inputs"].items()
        }
        assert set(form["outputs"]) == set(function.structured_outputs)
        assert all(each["unit"] for way in ("inputs", "outputs") for each in form[way].values())


def test_every_warm_up_request_runs(exported_stochastic):
    functions = tf.saved_model.load(exported_stochastic).signatures
    file = exported_stochastic / "assets.extra/tf_serving_warmup_requests"
    warmed = set()
    for record in tf.data.TFRecordDataset(str(file)):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "stochastic"
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
        for value in functions[name](**{k: tf.constant(v) for k, v in inputs.items()}).values():
            assert value.shape[0] == 1
        warmed.add(name)
    assert warmed == set(functions)


def test_without_tensorflow_serving_api_nothing_is_warmed_up_and_that_is_said(
    restorer, tmp_path, archive, caplog
):
    archive.setitem(sys.modules, "tensorflow_serving.apis", None)
    folder = export_restorer(restorer, tmp_path / "inpainter")
    assert os.listdir(folder / "assets.extra") == ["signatures.json"]
    assert "inpainter gets no warm-up requests" in caplog.text
    assert "pip install 'tfrestore[serving]'" in caplog.text


def test_the_folder_is_laid_out_for_tensorflow_serving(exported):
    assert exported.name == "1"
    assert {"saved_model.pb", "variables"} <= set(os.listdir(exported))
    assert os.listdir(exported.parent) == ["1"]
    assert os.stat(exported).st_mode & 0o755 == 0o755


class Archive:
    """Stands for Keras's: writes a file and no model, which takes no time."""

    stopped_by = None

    def track(self, restorer):
        pass

    def add_endpoint(self, *arguments, **options):
        pass

    def write_out(self, folder, **options):
        model = saved_model_pb2.SavedModel()
        model.meta_graphs.add()
        with open(os.path.join(folder, "saved_model.pb"), "wb") as file:
            file.write(model.SerializeToString())
        if self.stopped_by:
            raise self.stopped_by


@pytest.fixture
def archive(monkeypatch):
    monkeypatch.setattr(keras.export, "ExportArchive", Archive)
    return monkeypatch


def test_versions_count_up_from_the_highest_and_never_replace(restorer, tmp_path, archive):
    models = tmp_path / "deep/models"
    (models / "notes").mkdir(parents=True)
    assert export_restorer(restorer, models) == models / "1"
    assert export_restorer(restorer, models, 7) == models / "7"
    assert export_restorer(restorer, models) == models / "8"
    assert export_restorer(restorer, models, 3) == models / "3"
    for version, said in ((7, "exists already"), (0, "not positive"), (-1, "not positive")):
        with pytest.raises(UsageError, match=said):
            export_restorer(restorer, models, version)
    assert sorted(os.listdir(models)) == ["1", "3", "7", "8", "notes"]
    with pytest.raises(UsageError, match="not positive"):
        export_restorer(restorer, tmp_path / "other", 0)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InputError, "No space left"),
        (
            tf.errors.ResourceExhaustedError(None, None, "x/saved_model.pb; No space left"),
            InputError,
            r"written \(No space left\)",
        ),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_an_export_that_fails_half_way_leaves_nothing(
    restorer, tmp_path, archive, error, raised, said
):
    archive.setattr(Archive, "stopped_by", error)
    with pytest.raises(raised, match=said):
        export_restorer(restorer, tmp_path)
    assert os.listdir(tmp_path) == []


def test_an_export_that_is_killed_leaves_no_version(tmp_path):
    script = """
import os, sys, keras
from tfrestore import exporting
from tfrestore.exporting import export_restorer
class Archive:
    track = add_endpoint = lambda *_, **__: None
    def write_out(self, folder, **options):
        open(os.path.join(folder, "saved_model.pb"), "w").close()
        os._exit(137)
class Nothing:
    endpoints = dict

    def for_inference(self):
        return self

exporting.served_functions = lambda _: {}
keras.export.ExportArchive = Archive
export_restorer(Nothing(), sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path])
    assert done.returncode == 137
    # TensorFlow Serving takes folders that are named by a number for versions, and no others.
    (left,) = os.listdir(tmp_path)
    assert os.listdir(tmp_path / left) == ["saved_model.pb"] and not left.isdecimal()


def test_a_network_of_mixed_precision_is_exported_with_float32_signatures(tmp_path):
    network = UNet(filters=2, depth=1, dtype="mixed_float16")
    mixed = InpainterRestorer(network, iterations=1)
    signatures = tf.saved_model.load(export_restorer(mixed, tmp_path)).signatures
    waveform = tf.constant(waveforms(1, 8000))
    restored = signatures["serving_default"](waveform=waveform)["restored"]
    assert restored.dtype == tf.float32
    np.testing.assert_allclose(restored, mixed(waveform), atol=1e-2)


# The command.


def test_the_command_prints_where_the_model_is_and_what_it_takes(random_run, tmp_path, capsys):
    command = ["export", "--model", str(random_run), "--out", str(tmp_path / "m")]
    assert main(command) == 0
    first, *signatures = capsys.readouterr().out.splitlines()
    assert first == str(tmp_path / "m/1")
    forms = dict(line.strip().split(": ", 1) for line in signatures)
    assert forms["serving_default"] == "waveform float32 [any, any] -> restored float32 [any, any]"
    assert forms["wav_bytes"] == "audio_bytes string [any] -> restored_bytes string [any]"
    assert {"spectrogram", "window", "window_bytes", "properties"} <= set(forms)
    assert main([*command, "--version=1"]) == 2
    assert f"{tmp_path}/m/1: this version exists already" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(random_run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file/models")
    assert main(["export", "--model", str(random_run), "--out", out]) == 1
    captured = capsys.readouterr().err
    assert captured.startswith(f"tfrestore export: {out}: cannot be written (")
    assert captured.count("\n") == 1
