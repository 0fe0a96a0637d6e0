"""`python -m serving.client`: restores recordings with a model behind TensorFlow Serving."""

from __future__ import annotations

import argparse
import re
import sys

from tfrestore.command_line import (
    CommandParser,
    HelpFormatter,
    integer,
    positive_integer,
    positive_number,
    run_command,
)
from tfrestore.errors import UsageError
from tfrestore.restore import add_restore_arguments

EXAMPLES = """\
  python -m serving.client restore song.mp3 --grpc localhost:8500 --model inpainter
  python -m serving.client restore album/ --rest https://host/tf --model sr_gan --token SECRET \\
      --candidates 3 -o restored/ --format flac
  python -m serving.client status --grpc localhost:8500 --model inpainter
  python -m serving.client benchmark --grpc localhost:8500 --model inpainter --clients 1 4 16"""


def make_client_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = CommandParser(
        prog="python -m serving.client",
        description="Ask a model behind TensorFlow Serving, or python -m serving.server, over\n"
        "gRPC or REST.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=HelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, help: str):
        command = commands.add_parser(
            name, help=help, description=help, formatter_class=HelpFormatter
        )
        _add_server_arguments(command)
        return command

    restoring = add("restore", "Restore recordings, as `tfrestore restore` does with a model here.")
    restoring.add_argument(
        "--concurrency",
        type=positive_integer,
        default=4,
        help="segments that are under way at the same time",
    )
    restoring.add_argument(
        "inputs", nargs="+", metavar="FILE", help="files, folders (with all below) or quoted globs"
    )
    add_restore_arguments(restoring)
    add("status", "Tell the model's versions and their states; exit code 1 if none is served.")
    add("metadata", "Tell the model's signatures, and how recordings are cut for it.")
    benchmark = add("benchmark", "Measure how many segments a second are restored, and how fast.")
    benchmark.add_argument(
        "--clients", type=positive_integer, nargs="+", default=[1, 4, 16], help="at the same time"
    )
    benchmark.add_argument(
        "--requests", type=positive_integer, default=100, help="for each number of clients"
    )
    benchmark.add_argument(
        "--seconds", type=positive_number, default=1.0, help="length of a segment"
    )
    return parser


def _add_server_arguments(parser: argparse.ArgumentParser) -> None:
    server = parser.add_argument_group("server")
    address = server.add_mutually_exclusive_group(required=True)
    address.add_argument("--grpc", metavar="HOST:PORT", help="the server's address for gRPC")
    address.add_argument("--rest", metavar="URL", help="the server's address for REST")
    server.add_argument("--model", required=True, metavar="NAME", help="the model's name there")
    which = server.add_mutually_exclusive_group()
    which.add_argument(
        "--version", type=_version, help="the version's number; by default the latest"
    )
    which.add_argument("--label", help="the version's label")
    server.add_argument(
        "--timeout",
        type=positive_number,
        default=120.0,
        help="seconds for a segment, all attempts together",
    )
    secure = parser.add_argument_group("security")
    secure.add_argument("--tls", action="store_true", help="encrypt gRPC; --rest says https")
    secure.add_argument("--tls-ca", metavar="FILE", help="certificates to trust, PEM")
    secure.add_argument("--tls-certificate", metavar="FILE", help="this client's certificate, PEM")
    secure.add_argument("--tls-key", metavar="FILE", help="this client's key, PEM")
    secure.add_argument(
        "--token",
        type=_header_value,
        help="goes with every request as authorization: Bearer TOKEN",
    )
    secure.add_argument(
        "--metadata",
        action="append",
        default=[],
        type=_named_value,
        metavar="NAME=VALUE",
        help="goes with every request: gRPC's metadata, REST's headers; may be repeated",
    )


def _named_value(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    name = name.strip()
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name.lower().endswith("-bin"):
        raise argparse.ArgumentTypeError(
            f"{name!r} is no name of letters, digits, '-', '_' and '.'; one in -bin is not for text"
        )
    return name, _header_value(value)


def _header_value(text: str) -> str:
    """What both protocols carry: printable ASCII."""
    if not (text.isascii() and text.isprintable()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of printable ASCII letters alone")
    return text


def _version(text: str) -> int:
    number = integer(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 2**63 - 1")
    return number


def connect(options: argparse.Namespace):
    """The connection that the options ask for.

    Raises:
        UsageError: if the options make no sense.
    """
    from serving.remote.transports import GrpcTransport, RestTransport, ServedModel

    files = {
        "ca": options.tls_ca,
        "certificate": options.tls_certificate,
        "key": options.tls_key,
    }
    secure = options.tls or any(files.values())
    if bool(options.tls_certificate) != bool(options.tls_key):
        raise UsageError("--tls-certificate and --tls-key go together.")
    headers = dict(options.metadata)
    if options.token:
        headers["authorization"] = f"Bearer {options.token}"
    model = ServedModel(
        options.model, options.version, options.label, headers, files if secure else None
    )
    if options.grpc is not None:
        return GrpcTransport(options.grpc, model)
    return RestTransport(options.rest, model)


def run(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    commands = {
        "restore": restore,
        "status": tell_status,
        "metadata": tell_metadata,
        "benchmark": benchmark,
    }
    return commands[options.command](options)


def restore(options: argparse.Namespace) -> int:
    """Restores the files; returns the exit code."""
    from contextlib import ExitStack

    from serving.remote.restorer import RemoteRestorer
    from tfrestore.restore import restore_files

    with ExitStack() as stack:

        def load():
            return stack.enter_context(
                RemoteRestorer(connect(options), options.concurrency, options.timeout)
            )

        model = f"the model {options.model} on the server"
        return restore_files(options, load, model, "python -m serving.client")


def tell_status(options: argparse.Namespace) -> int:
    """Prints a line per version; returns the exit code."""
    versions = connect(options).status(options.timeout)
    for version, state, error in versions:
        print(f"version {version}: {state}{f': {error}' if error else ''}")
    return 0 if any(state == "AVAILABLE" for _, state, _ in versions) else 1


def tell_metadata(options: argparse.Namespace) -> int:
    """Prints a line per signature and property; returns the exit code."""
    from serving.remote.restorer import RemoteRestorer

    transport = connect(options)
    for name, form in transport.signatures(options.timeout).items():
        inputs, outputs = (_forms(form[way]) for way in ("inputs", "outputs"))
        print(f"{name}: {inputs} -> {outputs}")
    with RemoteRestorer(transport, seconds=options.timeout) as restorer:
        plan = restorer.chunk_plan
        print(f"sample rate: {restorer.sample_rate} Hz")
        print(f"segments: {plan.chunk_samples} samples, {plan.context_samples} on either side")
        if restorer.is_stochastic:
            print(f"noise: {restorer.noise_size} values")
    return 0


def _forms(tensors: dict[str, dict]) -> str:
    return ", ".join(
        f"{name} {form['dtype']} "
        f"[{', '.join('any' if size is None else str(size) for size in form['shape'])}]"
        for name, form in tensors.items()
    )


def benchmark(options: argparse.Namespace) -> int:
    """Prints a line per number of clients; returns the exit code."""
    from serving.remote.load import measure_load
    from serving.remote.restorer import RemoteRestorer
    from tfrestore.audio.tone import tone_with_gap

    transport, failed = connect(options), False
    with RemoteRestorer(transport, seconds=options.timeout) as restorer:
        samples = max(1, round(options.seconds * restorer.sample_rate))
        # Of a sound without gaps an inpainter would have nothing to do.
        waveform = tone_with_gap(samples, restorer.sample_rate)[None]

        def request():
            transport.predict("serving_default", {"waveform": waveform}, options.timeout)

        restorer.ask(lambda left: request())
        print("clients  segments/s  times real time  p50 ms  p95 ms  p99 ms  errors")
        for clients in options.clients:
            load = measure_load(request, clients, options.requests)
            percentiles = "  ".join(f"{load.percentile(share):6.1f}" for share in (50, 95, 99))
            print(
                f"{clients:7d}  {load.throughput:10.2f}  "
                f"{load.throughput * options.seconds:15.2f}  {percentiles}  {len(load.errors):6d}",
                flush=True,
            )
            failed = failed or bool(load.errors)
            if load.errors:
                print(f"python -m serving.client: {load.errors[0]}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_client_parser(), run, arguments)


if __name__ == "__main__":
    sys.exit(main())
