"""PyTorch's checkpoints and safetensors files, read and written without PyTorch.

A checkpoint is nested dictionaries and lists with tensors and plain values in them. What is read is
data and stays data: nothing that a file asks for is imported or called.

Example:
    ```
    with open_checkpoint("pytorch_model.bin") as content:
        weights = {name: tensor.read() for name, tensor in content["state_dict"].items()}
    ```
"""

from tfrestore.checkpoints.files import open_checkpoint, write_checkpoint
from tfrestore.checkpoints.tensors import StoredTensor

__all__ = ["StoredTensor", "open_checkpoint", "write_checkpoint"]
