"""`python -m serving.server`: a local server that speaks TensorFlow Serving's protocols.

For development and tests on machines that have pip only. It takes `tensorflow_model_server`'s flags
and listens at the ports of its container, at the loopback address unless it is told otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable

from tfrestore.command_line import (
    CommandParser,
    HelpFormatter,
    available_cores,
    not_negative_integer,
    positive_integer,
    run_command,
)
from tfrestore.errors import InputError, UsageError

EXAMPLES = """\
  python -m serving.server --model_name=inpainter --model_base_path=models/inpainter
  python -m serving.server --model_config_file=models.config --enable_batching \\
      --batching_parameters_file=serving/batching_parameters.txt
  curl http://localhost:8501/v1/models/inpainter"""

logger = logging.getLogger("tfrestore.serving")

# For requests that run when the server is asked to end.
_DRAIN_SECONDS = 30.0


def flag(text: str) -> bool:
    """The type of flags that are true or false, as TensorFlow Serving writes them."""
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1")


def port(text: str) -> int:
    """The type of flags that name a port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def make_server_parser() -> argparse.ArgumentParser:
    """The options of the command."""
    parser = CommandParser(
        prog="python -m serving.server",
        description="Serve exported models on this machine over gRPC and REST, with TensorFlow\n"
        "Serving's protocols, flags and messages; SIGTERM lets running requests finish.",
        epilog=f"examples:\n{EXAMPLES}",
        formatter_class=HelpFormatter,
    )
    models = parser.add_argument_group("models")
    models.add_argument("--model_name", default="default", help="the model's name in requests")
    models.add_argument("--model_base_path", help="the model's folder, which holds its versions")
    models.add_argument("--model_config_file", help="a ModelServerConfig, for several models")
    models.add_argument(
        "--model_config_file_poll_wait_seconds",
        type=not_negative_integer,
        default=0,
        help="how often to look for another configuration in the file; 0: never again",
    )
    models.add_argument(
        "--file_system_poll_wait_seconds",
        type=float,
        default=1.0,
        help="how often to look for new versions; 0: never again",
    )
    listening = parser.add_argument_group("listening")
    listening.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    listening.add_argument("--port", type=port, default=8500, help="for gRPC; 0: no gRPC")
    listening.add_argument("--rest_api_port", type=port, default=8501, help="for REST; 0: no REST")
    listening.add_argument(
        "--rest_api_timeout_in_ms",
        type=positive_integer,
        default=30000,
        help="after which a REST request is given up",
    )
    listening.add_argument("--monitoring_config_file", help="a MonitoringConfig, for Prometheus")
    running = parser.add_argument_group("running")
    running.add_argument(
        "--enable_batching",
        type=flag,
        nargs="?",
        const=True,
        default=False,
        help="run requests together that fit",
    )
    running.add_argument("--batching_parameters_file", help="BatchingParameters")
    running.add_argument(
        "--tensorflow_session_parallelism",
        type=not_negative_integer,
        default=0,
        help="requests that run at the same time; 0: two for each core",
    )
    running.add_argument(
        "--tensorflow_inter_op_parallelism",
        type=not_negative_integer,
        default=0,
        help="operations that TensorFlow runs at the same time; 0: two for each core",
    )
    running.add_argument(
        "--tensorflow_intra_op_parallelism",
        type=not_negative_integer,
        default=0,
        help="threads of one operation; 0: one for each core, and with batching its share of the\n"
        "cores for each batch that may run at the same time",
    )
    bounds = parser.add_argument_group("bounds", "Not TensorFlow Serving's.")
    bounds.add_argument(
        "--max_request_bytes",
        type=positive_integer,
        default=2**28,
        help="size at which a request is refused",
    )
    bounds.add_argument(
        "--max_waiting_requests",
        type=not_negative_integer,
        default=256,
        help="requests that may wait",
    )
    return parser


def serve(options: argparse.Namespace) -> int:
    """Runs the command with parsed options; returns its exit code."""
    try:
        import tensorflow_serving.apis  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"the server needs {error.name}; install it with pip install 'tfrestore[serving]'."
        ) from None
    from serving.model_server.configuration import (
        MonitoringConfig,
        batching_parameters,
        one_model,
        read_configuration,
        read_models,
    )

    if (options.model_base_path is None) == (options.model_config_file is None):
        raise UsageError("give --model_base_path or --model_config_file, and not both.")
    if options.model_config_file:
        config = read_models(options.model_config_file)
    else:
        config = one_model(options.model_name, options.model_base_path)
    batching = None
    if options.enable_batching:
        batching = batching_parameters(options.batching_parameters_file)
    elif options.batching_parameters_file:
        raise UsageError("--batching_parameters_file without --enable_batching has no effect.")
    metrics_path = None
    if options.monitoring_config_file:
        monitoring = read_configuration(options.monitoring_config_file, MonitoringConfig)
        if monitoring.prometheus_config.enable:
            metrics_path = monitoring.prometheus_config.path or "/monitoring/prometheus/metrics"
    if options.port and options.port == options.rest_api_port:
        raise UsageError(f"--port and --rest_api_port are both {options.port}; choose two.")
    if not (options.port or options.rest_api_port):
        raise UsageError("--port and --rest_api_port are both 0: nobody could ask anything.")
    _set_parallelism(options, batching)
    return asyncio.run(_serve(options, config, batching, metrics_path))


def _set_parallelism(options, batching: dict | None) -> None:
    # TensorFlow reads these when it starts. Requests wait for one another's operations less where
    # there are more of both than cores.
    cores = available_cores()
    twice = 2 * cores
    options.tensorflow_session_parallelism = options.tensorflow_session_parallelism or twice
    if options.tensorflow_intra_op_parallelism:
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(options.tensorflow_intra_op_parallelism)
    elif batching:
        # Batches beside one another keep the cores busy; parts of operations only wait for others.
        threads = max(1, cores // batching["num_batch_threads"])
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
    if options.tensorflow_inter_op_parallelism:
        os.environ["TF_NUM_INTEROP_THREADS"] = str(options.tensorflow_inter_op_parallelism)
    else:
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(twice))


async def _serve(options, config, batching: dict | None, metrics_path: str | None) -> int:
    from serving.model_server.http_api import HttpApi
    from serving.model_server.metrics import Metrics
    from serving.model_server.predictor import Predictor
    from serving.model_server.repository import Repository
    from serving.model_server.scheduling import BatchingScheduler, DirectScheduler
    from serving.model_server.servable import Servable
    from serving.model_server.statuses import StatusError

    metrics = Metrics()

    def load(name, version, path):
        try:
            servable = Servable(name, version, path)
        except Exception:
            metrics.count_load(str(path), succeeded=False)
            raise
        metrics.count_load(str(path), succeeded=True)
        return servable

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    if batching:
        scheduler = BatchingScheduler(**batching)
    else:
        scheduler = DirectScheduler(
            options.tensorflow_session_parallelism, options.max_waiting_requests
        )
    async with contextlib.AsyncExitStack() as stack:
        # Before the models are loaded, which takes long: a port in use is told at once.
        if options.port:
            _listen(options.host, options.port, "--port").close()
        http_socket = None
        if options.rest_api_port:
            http_socket = _listen(options.host, options.rest_api_port, "--rest_api_port")
            stack.enter_context(http_socket)
        try:
            repository = Repository(config, load)
            await repository.update()
        except StatusError as error:
            raise UsageError(f"the models' configuration cannot be used: {error.message}") from None
        if failures := repository.failures():
            raise InputError(f"failed to start: {'; '.join(failures)}")
        predictor = Predictor(repository, scheduler, metrics, options.max_request_bytes)
        if options.file_system_poll_wait_seconds > 0:
            watching = asyncio.ensure_future(
                repository.watch(options.file_system_poll_wait_seconds)
            )
            stack.callback(watching.cancel)
        if options.model_config_file and options.model_config_file_poll_wait_seconds:
            watching = asyncio.ensure_future(
                _watch_configuration(
                    options.model_config_file,
                    config,
                    options.model_config_file_poll_wait_seconds,
                    repository,
                )
            )
            stack.callback(watching.cancel)
        ends = []
        try:
            if options.port:
                ends.append(await _listen_for_grpc(options, predictor))
            if options.rest_api_port:
                application = HttpApi(
                    predictor, options.rest_api_timeout_in_ms / 1000, metrics_path
                )
                ends.append(_listen_for_http(options, application, http_socket, ended))
            logger.info("ready")
            await ended.wait()
            logger.info("running requests are finished, new ones are refused")
        finally:
            # Both at once: neither takes a new request while the other finishes its own.
            await asyncio.gather(*(end() for end in ends))
    return 0


async def _watch_configuration(path: str, config, seconds: float, repository) -> None:
    """Serves what the file of models says whenever that has changed, until it is cancelled."""
    from serving.model_server.configuration import read_models
    from serving.model_server.statuses import StatusError

    complaint = None
    while True:
        await asyncio.sleep(seconds)
        try:
            found = read_models(path)
            if found != config:
                await repository.reload(found)
                config = found
                logger.info("%s has changed: its models are served", path)
            complaint = None
        except (UsageError, StatusError) as error:
            if complaint != str(error):
                complaint = str(error)
                logger.error("what was served before is served on: %s", complaint)


def _listen(host: str, number: int, flag: str) -> socket.socket:
    listening = None
    try:
        found = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, name = found[0]
        # asyncio sends answers without delay only where it is told that the protocol is TCP.
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(name)
    except OSError as error:
        if listening:
            listening.close()
        raise _port_error(host, number, flag, error.strerror) from None
    return listening


def _port_error(host: str, number: int, flag: str, reason: str) -> UsageError:
    return UsageError(
        f"{flag}: {host}:{number} cannot be listened at ({reason}); choose another port."
    )


async def _listen_for_grpc(options, predictor) -> Callable[[], Awaitable[None]]:
    """Answers over gRPC from now on; returns what ends that when running requests are finished."""
    from serving.model_server.grpc_api import make_grpc_server

    server = make_grpc_server(predictor, options.max_waiting_requests)
    address = f"[{options.host}]" if ":" in options.host else options.host
    try:
        bound = server.add_insecure_port(f"{address}:{options.port}")
    except RuntimeError:
        bound = 0
    if not bound:
        # Somebody has taken it while the models were loaded.
        raise _port_error(options.host, options.port, "--port", "it is in use")
    await server.start()
    logger.info("gRPC at %s:%d", options.host, options.port)
    return functools.partial(server.stop, _DRAIN_SECONDS)


def _listen_for_http(
    options, application, listening: socket.socket, ended: asyncio.Event
) -> Callable[[], Awaitable[None]]:
    """The same for REST; `ended` is set should the HTTP server end by itself."""
    import uvicorn

    logging.getLogger("uvicorn").handlers = logging.getLogger("tfrestore").handlers

    class Server(uvicorn.Server):
        """uvicorn's server, with signals left to this command."""

        @contextlib.contextmanager
        def capture_signals(self):
            yield

    server = Server(
        uvicorn.Config(
            application,
            # What a client may offer to speak instead is not taken up, as in TensorFlow Serving;
            # httptools would lose the body of a request that offers.
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            # What a port scan sends is not worth a line.
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=round(_DRAIN_SECONDS),
        )
    )
    try:
        listening.listen(socket.SOMAXCONN)
    except OSError as error:
        # Somebody has taken it while the models were loaded.
        raise _port_error(
            options.host, options.rest_api_port, "--rest_api_port", error.strerror
        ) from None
    running = asyncio.ensure_future(server.serve([listening]))
    running.add_done_callback(lambda _: ended.set())
    logger.info("REST at http://%s:%d", options.host, options.rest_api_port)

    async def end() -> None:
        server.should_exit = True
        await running

    return end


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_command(make_server_parser(), serve, arguments)


if __name__ == "__main__":
    sys.exit(main())
