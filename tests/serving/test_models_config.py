from pathlib import Path

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2


def test_the_model_configuration_is_one_for_tensorflow_serving():
    text = (Path(__file__).parents[2] / "serving" / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("inpainter", "/models/inpainter")
