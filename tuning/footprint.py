"""How large a trial is, found out before there is any memory for it: its parameters and its bytes.

The model is built as a TensorFlow graph, in which a variable is a name and a shape. A step's memory
is read off its traced graph: tensors are made in the order of the graph and freed after their last
use, as TensorFlow's executor does on one thread; the peak of what lives at a time is what counts.
"""

from __future__ import annotations

import math
from collections import Counter

import keras
import tensorflow as tf

from tfrestore.models.presets import Preset
from tfrestore.training.building import make, make_trainer

# Operations that give on what they get: their output takes no memory of its own.
_ALIASES = frozenset(
    ("Identity", "IdentityN", "Reshape", "ExpandDims", "Squeeze", "StopGradient", "ReadVariableOp")
)


def symbolic_trainer(preset: Preset) -> keras.Model:
    """The trainer of a resolved preset, whose variables have shapes and no values.

    Raises:
        UsageError: if it cannot be built.
    """
    with tf.Graph().as_default():
        network = make(preset, "network", dtype=preset.config["training"]["precision"])
        restorer = make(preset, "restorer", network)
        return make_trainer(preset, network, restorer, steps_per_epoch=1)


def parameter_count(trainer: keras.Model) -> int:
    """Trained numbers of the network alone, without a critic's."""
    return sum(math.prod(weight.shape) for weight in trainer.network.trainable_weights)


def state_bytes(trainer: keras.Model) -> int:
    """Bytes of everything that a trainer keeps between two steps, its optimizers' states too."""
    optimizers = [each for each in vars(trainer).values() if _is_optimizer(each)]
    stages = [each for each in vars(trainer).values() if isinstance(each, keras.Model)]
    for stage in stages:
        optimizers += [each for each in vars(stage).values() if _is_optimizer(each)]
    variables = {
        id(variable): variable
        for owner in [trainer, *stages, *optimizers]
        for variable in owner.variables
    }
    return sum(
        math.prod(each.shape) * tf.dtypes.as_dtype(each.dtype).size for each in variables.values()
    )


def _is_optimizer(candidate) -> bool:
    return isinstance(candidate, keras.optimizers.Optimizer)


def step_bytes(function: tf.types.experimental.ConcreteFunction) -> int:
    """The peak of the bytes that the tensors of a traced step take at a time, variables aside."""
    return _peak(function.graph)


def _peak(graph: tf.Graph) -> int:
    """The same of a graph, whose functions are counted where they are called."""
    operations = graph.get_operations()
    # What is given on lives as long as what it is given on as.
    owners = {}
    uses = Counter()
    for operation in operations:
        for output in operation.outputs:
            owners[id(output)] = output
            if operation.type in _ALIASES and operation.inputs:
                owners[id(output)] = owners.get(id(operation.inputs[0]), operation.inputs[0])
        uses.update(id(owners[id(each)]) for each in operation.inputs)
    live = peak = 0
    for operation in operations:
        made = [each for each in operation.outputs if owners[id(each)] is each]
        live += sum(map(_bytes, made))
        peak = max(peak, live + max(map(_peak, _called(operation, graph)), default=0))
        for each in operation.inputs:
            owner = owners[id(each)]
            uses[id(owner)] -= 1
            if not uses[id(owner)]:
                live -= _bytes(owner)
        live -= sum(_bytes(each) for each in made if not uses[id(each)])
    return peak


def _called(operation: tf.Operation, graph: tf.Graph) -> list[tf.Graph]:
    """The graphs of the functions that an operation calls."""
    functions = (attribute.func.name for attribute in operation.node_def.attr.values())
    return [graph._functions[name].graph for name in functions if name in graph._functions]


def _bytes(tensor: tf.Tensor) -> int:
    """Of a tensor; one whose shape is not known counts as nothing."""
    if not tensor.shape.is_fully_defined() or tensor.dtype in (tf.resource, tf.variant, tf.string):
        return 0
    return math.prod(tensor.shape) * tensor.dtype.size
