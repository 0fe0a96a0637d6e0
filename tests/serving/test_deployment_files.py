from pathlib import Path

import pytest
import yaml
from tensorflow_serving.config import model_server_config_pb2

from serving.model_server.configuration import (
    BatchingParameters,
    MonitoringConfig,
    batching_parameters,
    read_configuration,
    read_models,
)
from serving.server import make_server_parser
from tfrestore.errors import UsageError
from tfrestore.models.presets import family_names

FOLDER = Path(__file__).parents[2] / "serving"


def test_every_family_has_a_model_where_export_puts_it(tmp_path):
    file = FOLDER / "models.config"
    (model,) = read_models(file).model_config_list.config
    assert model.name == "inpainter"
    uncommented = tmp_path / "models.config"
    uncommented.write_text(file.read_text().replace("  # ", "  "))
    config = read_models(uncommented)
    assert isinstance(config, model_server_config_pb2.ModelServerConfig)
    models = config.model_config_list.config
    assert {model.name for model in models} >= set(family_names())
    assert all(model.base_path == f"/models/{model.name}" for model in models)
    assert {model.model_platform for model in models} == {"tensorflow"}


def test_batches_have_up_to_16_windows_and_are_not_filled_up():
    values = batching_parameters(FOLDER / "batching_parameters.txt")
    assert values["allowed_batch_sizes"] == []
    assert values["max_batch_size"] == 16
    assert values["batch_timeout_micros"] == 1000


def test_prometheus_finds_its_page():
    config = read_configuration(FOLDER / "monitoring_config.txt", MonitoringConfig)
    assert config.prometheus_config.enable
    assert config.prometheus_config.path == "/monitoring/prometheus/metrics"


def arguments_of(command):
    """Flags of tensorflow_model_server as a dict."""
    return dict(word.removeprefix("--").split("=", 1) for word in command)


@pytest.mark.parametrize("service", ["serving", "serving-gpu"])
def test_compose_runs_the_official_image_on_files_that_exist(service):
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"][service]
    assert compose["image"] == "tensorflow/serving:2.17.0" + ("-gpu" * (service != "serving"))
    check_flags(arguments_of(compose["command"]))
    # Whoever reaches the port may use the models.
    assert all(published.startswith("127.0.0.1:") for published in compose["ports"])
    assert all(volume.endswith(":ro") for volume in compose["volumes"])
    assert compose["healthcheck"]["test"] and compose["deploy"]["resources"]["limits"]["memory"]


def check_flags(flags):
    known = {action.dest for action in make_server_parser()._actions}
    only_tensorflow_serving = {"model_config_file_poll_wait_seconds"}
    assert set(flags) - only_tensorflow_serving <= known
    for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        folder, file = flags[name].rsplit("/", 1)
        assert folder == "/serving" and (FOLDER / file).is_file()


def test_kubernetes_starts_probes_and_limits_the_same_server():
    claim, deployment, service = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    flags = arguments_of(container["args"])
    check_flags(flags)
    ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
    assert ports == {"grpc": flags["port"], "rest": flags["rest_api_port"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    page = read_configuration(FOLDER / "monitoring_config.txt", MonitoringConfig).prometheus_config
    assert container["readinessProbe"]["httpGet"]["path"] == page.path
    assert pod["metadata"]["annotations"]["prometheus.io/path"] == page.path
    assert container["resources"]["limits"]["memory"] == "8Gi"
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_batch_size { value: 8 } allowed_batch_sizes: 4", "the last has to be max_batch_size"),
        ("max_batch_size { value: 2 } allowed_batch_sizes: [2, 2]", "have to grow"),
        ("max_batch_size { value: 0 }", "max_batch_size is 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros is -1"),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 2000 }",
            "max_execution_batch_size is 2000; it is at most max_batch_size, 1000",
        ),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 8 } "
            "allowed_batch_sizes: 4",
            "the last has to be max_execution_batch_size, 8",
        ),
        ("max_batch_sise { value: 8 }", "not the text of a BatchingParameters.*max_batch_sise"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_in_a_sentence(tmp_path, text, said):
    file = tmp_path / "batching.txt"
    file.write_text(text)
    with pytest.raises(UsageError, match=said):
        batching_parameters(file)


def test_padding_and_splitting_are_read(tmp_path):
    file = tmp_path / "batching.txt"
    file.write_text(
        "pad_variable_length_inputs: true enable_large_batch_splitting { value: true } "
        "max_batch_size { value: 64 } max_execution_batch_size { value: 8 } "
        "allowed_batch_sizes: [4, 8]"
    )
    values = batching_parameters(file)
    assert values["pad_variable_length_inputs"]
    assert (values["max_batch_size"], values["max_execution_batch_size"]) == (64, 8)
    file.write_text("enable_large_batch_splitting { value: true } max_batch_size { value: 64 }")
    assert batching_parameters(file)["max_execution_batch_size"] == 64


def test_what_is_not_said_has_tensorflow_servings_defaults(tmp_path):
    file = tmp_path / "batching.txt"
    file.write_text("# nothing\n")
    assert batching_parameters(file) == batching_parameters(None)
    assert batching_parameters(None)["max_batch_size"] == 1000
    assert not read_configuration(file, BatchingParameters).HasField("max_batch_size")


def test_files_that_cannot_be_read_are_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="missing.config: cannot be read"):
        read_models(tmp_path / "missing.config")
    file = tmp_path / "empty.config"
    file.write_text("")
    with pytest.raises(UsageError, match="only a model_config_list"):
        read_models(file)
