"""What serving costs: `python -m benchmarks.serving`.

Exports a preset with fresh weights, which cost what trained ones cost, starts the local server, and
compares it with calling the same SavedModel in this process: segments a second over gRPC and WAV
files a second over REST, at several numbers of clients; then memory over many requests, and what
batching gains. What is compared is measured in turns, so that both have the same neighbours, and
the median of the turns' ratios counts. Clients, server and model share this machine's cores.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.parser import make_parser
from serving.remote.load import measure_load
from tfrestore.audio.tone import tone_with_gap

PARTS = ("grpc", "rest", "memory", "batching")
NAME = "benchmark"


def make_wav(segment: np.ndarray, sample_rate: int) -> bytes:
    """The segment as a WAV of 16 bits."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, segment[0], sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def export(preset: str, folder: Path):
    """Exports the preset with fresh weights; returns its restorer."""
    from tfrestore.exporting import export_restorer
    from tfrestore.restorer import Restorer

    restorer = Restorer.from_preset(preset, load_weights=False)
    export_restorer(restorer, folder)
    return restorer


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running_server(folder: Path, *options: str):
    """The local server; gives its process and its two ports."""
    ports = free_port(), free_port()
    command = [
        *(sys.executable, "-m", "serving.server", f"--model_name={NAME}"),
        *(f"--model_base_path={folder}", f"--port={ports[0]}", f"--rest_api_port={ports[1]}"),
    ]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr:
            # TensorFlow's own messages have the word as well.
            if line.rstrip().endswith(" ready"):
                break
        yield process, *ports
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def resident_bytes(process: subprocess.Popen) -> int:
    """Memory of a process that is in use (Linux)."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return 1024 * int(text.split("VmRSS:")[1].split()[0])


def transport(kind: str, port: int):
    """A connection of the client's to the server."""
    from serving.remote.transports import GrpcTransport, RestTransport, ServedModel

    model = ServedModel(NAME)
    if kind == "grpc":
        return GrpcTransport(f"127.0.0.1:{port}", model)
    return RestTransport(f"http://127.0.0.1:{port}", model)


def compare(title: str, here, there, clients: list[int], requests: int, turns: int) -> None:
    """Prints a line per number of clients: answers a second of two, and the ratio."""
    print(f"{title}\nclients  here/s  served/s  ratio  p50 ms  p95 ms  p99 ms  errors")
    for number in clients:
        ratios, loads = [], []
        for _ in range(turns):
            base = measure_load(here, number, requests)
            load = measure_load(there, number, requests)
            ratios.append(load.throughput / base.throughput)
            loads.append((load, base))
        latencies = np.concatenate([load.latencies for load, _ in loads]) * 1000
        percentiles = "  ".join(f"{np.percentile(latencies, q):6.1f}" for q in (50, 95, 99))
        best_here = max(base.throughput for _, base in loads)
        best_there = max(load.throughput for load, _ in loads)
        errors = sum(len(load.errors) for load, _ in loads)
        print(
            f"{number:7d}  {best_here:6.1f}  {best_there:8.1f}  {statistics.median(ratios):5.3f}  "
            f"{percentiles}  {errors:6d}",
            flush=True,
        )


def soak(folder: Path, segment: np.ndarray, requests: int, clients: int) -> None:
    """Prints the server's memory after a tenth of the requests and after all of them."""
    with running_server(folder) as (process, port, _):
        server = transport("grpc", port)

        def request():
            server.predict("serving_default", {"waveform": segment}, 120)

        first = measure_load(request, clients, requests // 10)
        before = resident_bytes(process)
        rest = measure_load(request, clients, requests - requests // 10)
        after = resident_bytes(process)
        errors = len(first.errors) + len(rest.errors)
        print(
            f"memory: {before / 2**20:.1f} MiB after {requests // 10} requests, "
            f"{after / 2**20:.1f} MiB after {requests} ({100 * (after / before - 1):+.2f} %), "
            f"{errors} errors, {rest.throughput:.1f}/s, p99 {rest.percentile(99):.1f} ms",
            flush=True,
        )
        server.close()


def batching(
    folder: Path,
    function,
    segment: np.ndarray,
    clients: int,
    requests: int,
    turns: int,
    parameters: str,
) -> None:
    """Prints answers a second without and with batching, the ratios, and the most it could be.

    Without batching an operation has the threads of all cores, as in TensorFlow; with it, its share
    of them. What that alone does is a line of its own.
    """
    import tensorflow as tf

    joined = np.repeat(segment, clients, axis=0)

    def one():
        function(waveform=tf.constant(segment))["restored"].numpy()

    def all_at_once():
        function(waveform=tf.constant(joined))["restored"].numpy()

    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running_server(folder, *flags))
            for flags in (
                [],
                ["--tensorflow_intra_op_parallelism=1"],
                ["--enable_batching", f"--batching_parameters_file={parameters}"],
            )
        ]
        connections = [transport("grpc", port) for _, port, _ in servers]
        rows, most = [], []
        for _ in range(turns + 1):
            alone = measure_load(one, clients, requests).throughput
            together = measure_load(all_at_once, 2, requests // clients).throughput * clients
            most.append(together / alone)
            loads = [
                measure_load(
                    lambda server=server: server.predict(
                        "serving_default", {"waveform": segment}, 120
                    ),
                    clients,
                    requests,
                )
                for server in connections
            ]
            rows.append([load.throughput for load in loads])
        # The first turn warms up every size of batch.
        rates = np.array(rows[1:])
        best = rates.max(axis=0)
        _, single, gain = np.median(rates / rates[:, :1], axis=0)
        print(
            f"batching, {clients} clients: {best[0]:.1f}/s without, {best[2]:.1f}/s with; ratio "
            f"{gain:.2f}\n"
            f"one thread an operation: {best[1]:.1f}/s; ratio {single:.2f}; batching to that "
            f"{np.median(rates[:, 2] / rates[:, 1]):.2f}\n"
            f"in this process two batches of {clients} at a time gain "
            f"{statistics.median(most[1:]):.2f}",
            flush=True,
        )
        for server in connections:
            server.close()


def main() -> None:
    """Prints what was asked for."""
    parser = make_parser(__spec__.name, __doc__)
    parser.add_argument("--preset", default="unet_tiny")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a segment")
    parser.add_argument("--requests", type=int, default=160, help="of a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--soak", type=int, default=10000, help="requests for the memory")
    parser.add_argument(
        "--batching-parameters",
        default=str(Path(__file__).parents[1] / "serving" / "batching_parameters.txt"),
    )
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / NAME
        restorer = export(options.preset, folder)
        samples = round(options.seconds * restorer.sample_rate)
        segment = tone_with_gap(samples, restorer.sample_rate)[None]
        functions = tf.saved_model.load(str(folder / "1")).signatures
        if {"grpc", "rest"} & set(options.parts):
            with running_server(folder) as (_, port, rest_port):
                compare_protocols(
                    options, functions, segment, restorer.sample_rate, port, rest_port
                )
        if "memory" in options.parts:
            soak(folder, segment, options.soak, 4)
        if "batching" in options.parts:
            batching(
                folder,
                functions["serving_default"],
                segment,
                16,
                options.requests,
                options.turns,
                options.batching_parameters,
            )


def compare_protocols(options, functions, segment, sample_rate, port, rest_port) -> None:
    """Prints the comparisons of gRPC and REST with this process."""
    import tensorflow as tf

    took = time.monotonic()
    if "grpc" in options.parts:
        function, server = functions["serving_default"], transport("grpc", port)

        def here():
            function(waveform=tf.constant(segment))["restored"].numpy()

        def there():
            server.predict("serving_default", {"waveform": segment}, 120)

        here(), there()
        title = f"gRPC, segments of {options.seconds:g} s"
        compare(title, here, there, options.clients, options.requests, options.turns)
        server.close()
    if "rest" in options.parts:
        function, server = functions["wav_bytes"], transport("rest", rest_port)
        wav = np.array([make_wav(segment, sample_rate)], object)

        def here():
            function(audio_bytes=tf.constant(wav.tolist()))["restored_bytes"].numpy()

        def there():
            server.predict("wav_bytes", {"audio_bytes": wav}, 120)

        here(), there()
        title = f"REST wav_bytes, {options.seconds:g} s"
        compare(title, here, there, options.clients, options.requests, options.turns)
        server.close()
    print(f"({time.monotonic() - took:.0f} s)")


if __name__ == "__main__":
    main()
