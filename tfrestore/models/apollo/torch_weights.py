"""Apollo's weights as the authors' PyTorch code names and shapes them, and back.

Their state dictionary (`BN` is the band split) has for band `b`, block `i` and convolution `j`

- `BN.b.0.weight`, `BN.b.1.weight`, `BN.b.1.bias`, and the same of `output`;
- `net.i.band_net.` `input_norm.weight`, `weight.weight` (head by head queries, keys and values),
  `output.weight`, `MLP.0.weight`, `MLP.1.weight`, `MLP_output.weight`, and the rotary tables
  `cos_freq` and `sin_freq`, which are no weights;
- `net.i.seq_net.blocks.j.conv.` `0`, `1`, `2` and `4`, depth-wise convolution, RMSNorm and two
  dense layers.

Dense layers are convolutions of width 1, `(outputs, inputs, 1)`. Training frameworks put something
in front of the names (`audio_model.`, `model.`, `module.`) or the dictionary into another.
"""

from __future__ import annotations

import inspect
import math
import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import EllipsisType

import numpy as np

from tfrestore.checkpoints import StoredTensor
from tfrestore.errors import InputError, UsageError
from tfrestore.models.apollo.band_sequence import EXPANSION
from tfrestore.models.apollo.network import CONVOLUTIONS, Apollo

#: Attention heads of the authors' code, which its tensors tell only by their rotary tables.
HEADS = 8

#: Window of the authors' models, in milliseconds.
WINDOW_MILLISECONDS = 20

#: Rates that a window of 20 ms is looked for at.
SAMPLE_RATES = (44100, 48000, 32000, 24000, 16000, 88200, 96000)

# Bands that the authors' rotary tables have rows for.
_TABLE_ROWS = 100

_ROTARY_BASE = 10_000.0

_NAME = re.compile(
    r"(?P<prefix>(?:.*\.)?)"
    r"(?:(?P<room>BN|output)\.(?P<band>\d+)\.[01]|net\.(?P<block>\d+)\.(?:band_net|seq_net))\..+"
)

# What may lie beside the generator where names have nothing in front.
_BESIDE = re.compile(r"discriminator|loss|metric", re.IGNORECASE)


@dataclass(frozen=True)
class TorchWeights:
    """The weights of an Apollo in a checkpoint.

    Attributes:
        tensors: By the authors' names, as they lie in the checkpoint.
        tables: The rotary tables among them, which are no weights.
        arguments: What `Apollo` takes to be this network.
        sample_rate: Hz.
        ignored: How many tensors of other things there are, by the first part of their names.
    """

    tensors: dict[str, StoredTensor]
    tables: dict[str, StoredTensor]
    arguments: dict
    sample_rate: int
    ignored: dict[str, int] = field(default_factory=dict)


def find_weights(
    content,
    which: str | None = None,
    sample_rate: int | None = None,
    heads: int | None = None,
    causal: bool | None = None,
) -> TorchWeights:
    """Finds an Apollo in a checkpoint's content and checks that it is whole.

    Widths, numbers of blocks and bands, and the window are those of the tensors.

    Args:
        content: What `open_checkpoint` gives.
        which: Where in the content they lie and what stands in front of their names, joined by
            dots, as in `"state_dict.audio_model"`; needed where there are several Apollos.
        sample_rate: Hz. By default what the checkpoint's `model_args` say, or else the rate at
            which the window lasts 20 ms, as in all of the authors' models.
        heads: Attention heads. By default as the rotary tables say, or else 8.
        causal: Whether it was trained causally; the tensors are the same. By default as
            `model_args` say, or else not.

    Raises:
        InputError: naming what is missing, too much, of another shape or type.
        UsageError: if the choice of one of several, or of the rate, is open or wrong.
    """
    found = _find_state_dicts(content)
    if not found:
        raise InputError(f"no Apollo: {_in_words(content)}.")
    if which is None and len(found) > 1:
        raise UsageError(f"holds {len(found)} Apollos; choose one with --weights {_either(found)}.")
    which = next(iter(found)) if which is None else which
    if which not in found:
        raise UsageError(f"--weights {which}: there is none; choose {_either(found)}.")
    prefix, state = found[which]
    own, ignored = _own_tensors(state, prefix)
    told = content.get("model_args") if isinstance(content, dict) else None
    told = told if isinstance(told, dict) else {}
    arguments = _infer_arguments(own)
    tables = {name: own.pop(name) for name in list(own) if name.endswith(("cos_freq", "sin_freq"))}
    arguments["heads"] = heads or _heads(tables, arguments["features"])
    arguments["causal"] = bool(told.get("causal", False)) if causal is None else causal
    _check_names_and_shapes(own, arguments)
    _check_tables(tables, arguments)
    rate = told.get("sr") if sample_rate is None else sample_rate
    return TorchWeights(
        own,
        tables,
        arguments,
        rate if type(rate) is int and rate > 0 else _sample_rate(arguments["frame_length"]),
        ignored,
    )


def make_network(weights: TorchWeights) -> Apollo:
    """The network with a checkpoint's weights.

    Raises:
        InputError: if a weight is no number.
    """
    network = Apollo(**weights.arguments)
    arrays = {_path(weight): np.zeros(weight.shape, np.float32) for weight in network.weights}
    for part in _parts(**_sizes(weights.arguments)):
        values = weights.tensors[part.theirs].read().astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"the tensor {part.theirs} holds values that are no finite numbers.")
        arrays[part.ours][part.index] = part.layout.from_torch(values[part.rows])
    for weight in network.weights:
        weight.assign(arrays[_path(weight)])
    return network


def torch_weights(network: Apollo) -> dict[str, np.ndarray]:
    """A network's weights by the authors' names, float32, in the order of their modules.

    The rotary tables are among them, without which the authors' code does not take the rest.

    Raises:
        InputError: if the network adds to its input, which theirs does not.
    """
    if network.residual:
        raise InputError(
            "this network mends its input (network.residual), which the authors' Apollo cannot; "
            "only networks without that can become one of their checkpoints."
        )
    arrays = {_path(weight): np.asarray(weight.numpy(), np.float32) for weight in network.weights}
    tensors = {}
    for part in _parts(**_sizes(network.get_config())):
        tensor = tensors.setdefault(part.theirs, np.zeros(part.shape, np.float32))
        tensor[part.rows] = part.layout.to_torch(arrays[part.ours][part.index])
    return tensors | rotary_tables(network.depth, network.features // network.heads)


def checkpoint_content(network: Apollo, sample_rate: int, tensors: dict[str, np.ndarray]) -> dict:
    """A checkpoint as the authors' code writes them, `torch_weights` in it."""
    arguments = {
        "sr": sample_rate,
        "win": round(1000 * network.frame_length / sample_rate),
        "feature_dim": network.features,
        "layer": network.depth,
    }
    if network.causal:
        arguments["causal"] = True
    return {"model_name": "Apollo", "state_dict": tensors, "model_args": arguments}


def rotary_tables(depth: int, width: int) -> dict[str, np.ndarray]:
    """Cosines and sines of `depth` blocks whose heads have `width` features, float32.

    Each `(100, width)`: a row per position, each frequency twice in a row. PyTorch's differ from
    these in the last bits.
    """
    speeds = 1 / np.float32(_ROTARY_BASE) ** (np.arange(0, width, 2, np.float32) / width)
    angles = np.arange(_TABLE_ROWS, dtype=np.float32)[:, None] * np.repeat(speeds, 2)
    tables = {"cos_freq": np.cos(angles), "sin_freq": np.sin(angles)}
    return {
        f"net.{block}.band_net.{name}": table.astype(np.float32)
        for block in range(depth)
        for name, table in tables.items()
    }


class _Vector:
    """One axis, the same here and there."""

    from_torch = to_torch = staticmethod(lambda values: values)


class _Dense:
    """`(outputs, inputs, 1)` there, `(inputs, outputs)` here."""

    from_torch = staticmethod(lambda values: values[:, :, 0].T)
    to_torch = staticmethod(lambda values: values.T[:, :, None])


class _Depthwise:
    """`(features, 1, frames)` there, `(frames, features)` here."""

    from_torch = staticmethod(lambda values: values[:, 0].T)
    to_torch = staticmethod(lambda values: values.T[:, None])


@dataclass(frozen=True)
class _Part:
    """A tensor of the authors, or some of its rows, and where they are in this network.

    Attributes:
        theirs: The tensor's name.
        shape: Its shape.
        ours: The path of the weight that holds it.
        layout: How the one becomes the other.
        index: Where in that weight: a band's number, or all of it.
        rows: Which of the tensor's rows: their numbers in this network's order, or all of them.
    """

    theirs: str
    shape: tuple[int, ...]
    ours: str
    layout: type
    index: int | EllipsisType = ...
    rows: np.ndarray | EllipsisType = ...


def _parts(
    features: int,
    depth: int,
    heads: int,
    kernel_size: int,
    bands: int,
    band_bins: int,
    frame_length: int,
) -> Iterator[_Part]:
    """Every weight of a network of these sizes, in the order of the authors' modules."""
    hidden = EXPANSION * features

    def vector(theirs: str, ours: str, size: int, **where) -> _Part:
        return _Part(theirs, (size,), ours, _Vector, **where)

    def dense(theirs: str, ours: str, inputs: int, outputs: int, **where) -> _Part:
        return _Part(theirs, (outputs, inputs, 1), ours, _Dense, **where)

    def of_bands(room: str, layer: str) -> Iterator[_Part]:
        for band in range(bands):
            is_last = band == bands - 1
            bins = frame_length // 2 + 1 - (bands - 1) * band_bins if is_last else band_bins
            inputs, outputs = {"BN": (2 * bins + 1, features), "output": (features, 4 * bins)}[room]
            theirs, ours = f"{room}.{band}", f"{layer}/{'last_' if is_last else ''}"
            where = {} if is_last else {"index": band}
            yield vector(f"{theirs}.0.weight", f"{ours}gain", inputs, **where)
            yield dense(f"{theirs}.1.weight", f"{ours}kernel", inputs, outputs, **where)
            yield vector(f"{theirs}.1.bias", f"{ours}bias", outputs, **where)

    yield from of_bands("BN", "band_split")
    for block in range(depth):
        theirs, ours = f"net.{block}.band_net", f"block_{block}_roformer"
        yield vector(f"{theirs}.input_norm.weight", f"{ours}/attention_gain", features)
        for name, rows in zip(("query", "key", "value"), _head_rows(features, heads), strict=True):
            kernel = f"{ours}/{name}_kernel"
            yield dense(f"{theirs}.weight.weight", kernel, features, 3 * features, rows=rows)
        yield dense(f"{theirs}.output.weight", f"{ours}/attention_kernel", features, features)
        yield vector(f"{theirs}.MLP.0.weight", f"{ours}/feed_forward_gain", features)
        for name, rows in zip(("gate", "content"), np.split(np.arange(2 * hidden), 2), strict=True):
            kernel = f"{ours}/{name}_kernel"
            yield dense(f"{theirs}.MLP.1.weight", kernel, features, 2 * hidden, rows=rows)
        yield dense(f"{theirs}.MLP_output.weight", f"{ours}/feed_forward_kernel", hidden, features)
        for number in range(CONVOLUTIONS):
            theirs = f"net.{block}.seq_net.blocks.{number}.conv"
            ours = f"block_{block}_convolution_{number}"
            shape = (features, 1, kernel_size)
            yield _Part(f"{theirs}.0.weight", shape, f"{ours}/depthwise_kernel", _Depthwise)
            yield vector(f"{theirs}.0.bias", f"{ours}/depthwise_bias", features)
            yield vector(f"{theirs}.1.weight", f"{ours}/gain", features)
            yield dense(f"{theirs}.2.weight", f"{ours}/expansion_kernel", features, hidden)
            yield vector(f"{theirs}.2.bias", f"{ours}/expansion_bias", hidden)
            yield dense(f"{theirs}.4.weight", f"{ours}/projection_kernel", hidden, features)
            yield vector(f"{theirs}.4.bias", f"{ours}/projection_bias", features)
    yield from of_bands("output", "band_reconstruction")


def _head_rows(features: int, heads: int) -> list[np.ndarray]:
    """Rows of the authors' attention layer that are queries, keys and values, in order.

    There the heads follow each other, each with its queries, keys and values, and what the rotary
    embedding turns are neighbours; here the first of all such pairs of a head come before the
    second (see `BandRoformer`).
    """
    rows = np.arange(3 * features).reshape(heads, 3, -1)
    queries, keys, values = (rows[:, part] for part in range(3))
    turned = [np.concatenate([each[:, 0::2], each[:, 1::2]], axis=1) for each in (queries, keys)]
    return [each.reshape(-1) for each in (*turned, values)]


def _sizes(arguments: dict) -> dict:
    return {name: arguments[name] for name in inspect.signature(_parts).parameters}


def _path(weight) -> str:
    return "/".join(weight.path.split("/")[-2:])


def _find_state_dicts(content) -> dict[str, tuple[str, dict]]:
    """Dictionaries that hold an Apollo's tensors, each with what is in front of their names.

    They are called as `find_weights` takes it.
    """
    found = {}
    for place, value in _dictionaries(content):
        state = {
            # What `torch.compile` puts in front of the parts that it compiled.
            name.replace("_orig_mod.", ""): tensor
            for name, tensor in value.items()
            if isinstance(name, str) and isinstance(tensor, StoredTensor)
        }
        matches = [match for name in state if (match := _NAME.fullmatch(name))]
        blocks = {match["prefix"] for match in matches if match["block"]}
        bands = {match["prefix"] for match in matches if match["band"]}
        for prefix in sorted(blocks & bands):
            found[".".join([*place, *prefix.split(".")[:-1]])] = prefix, state
    return found


def _dictionaries(content) -> Iterator[tuple[list[str], dict]]:
    """All dictionaries of a checkpoint, each once and with the names that lead to it."""
    seen, waiting = set(), deque([([], content)])
    while waiting:
        place, value = waiting.popleft()
        if isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            yield place, value
            waiting.extend(([*place, str(key)], each) for key, each in value.items())


def _own_tensors(state: dict, prefix: str) -> tuple[dict[str, StoredTensor], dict[str, int]]:
    """The tensors behind a prefix by the names behind it, and how many others there are."""
    own, ignored = {}, Counter()
    for name, tensor in state.items():
        first = name.split(".")[0]
        if not name.startswith(prefix) or (not prefix and _BESIDE.search(first)):
            ignored[first] += 1
        else:
            own[name.removeprefix(prefix)] = tensor
    return own, dict(ignored)


def _infer_arguments(tensors: dict[str, StoredTensor]) -> dict:
    """The sizes that tensors have, most of them where they differ."""
    matches = [match for name in tensors if (match := _NAME.fullmatch(name))]
    bands = 1 + max(int(match["band"]) for match in matches if match["band"])
    depth = 1 + max(int(match["block"]) for match in matches if match["block"])
    if max(bands, depth) > len(tensors):
        raise InputError(f"no Apollo: its names count {bands} bands and {depth} blocks.")

    def most_common(pattern: str, axis: int) -> int | None:
        sizes = Counter(
            tensor.shape[axis]
            for name, tensor in tensors.items()
            if re.fullmatch(pattern, name) and len(tensor.shape) > axis
        )
        return sizes.most_common(1)[0][0] if sizes else None

    def bins(band: str) -> int | None:
        inputs = most_common(rf"BN\.{band}\.0\.weight", 0)
        outputs = most_common(rf"output\.{band}\.1\.bias", 0)
        return (inputs - 1) // 2 if inputs else outputs and outputs // 4

    last = bins(str(bands - 1))
    sizes = {
        "features": most_common(r"net\.\d+\.band_net\.input_norm\.weight", 0)
        or most_common(r"BN\.\d+\.1\.bias", 0),
        "kernel_size": most_common(r"net\.\d+\.seq_net\.blocks\.\d+\.conv\.0\.weight", 2),
        "band_bins": bins(r"\d+") if bands > 1 else last,
        "frame_length": last,
    }
    lacking = [name for name, size in sizes.items() if not size]
    if lacking:
        raise InputError(
            f"the tensors that tell its {lacking[0]} are missing; it is no whole Apollo."
        )
    # A matrix of this size is in every block; nothing larger is made before all shapes are checked.
    if sizes["features"] ** 2 > sum(math.prod(tensor.shape) for tensor in tensors.values()):
        raise InputError(
            f"no whole Apollo: its tensors are too few for {sizes['features']} features."
        )
    sizes["frame_length"] = 2 * ((bands - 1) * sizes["band_bins"] + last - 1)
    return {**sizes, "bands": bands, "depth": depth}


def _heads(tables: dict[str, StoredTensor], features: int) -> int:
    widths = {table.shape[1] for table in tables.values() if len(table.shape) == 2}
    return features // widths.pop() or HEADS if len(widths) == 1 and 0 not in widths else HEADS


def _check_names_and_shapes(tensors: dict[str, StoredTensor], arguments: dict) -> None:
    if arguments["kernel_size"] % 2 == 0 or arguments["features"] % (2 * arguments["heads"]):
        raise InputError(
            f"feature_dim {arguments['features']} in {arguments['heads']} heads and convolutions "
            f"of {arguments['kernel_size']} frames are none of Apollo; --heads says how many."
        )
    shapes = {part.theirs: part.shape for part in _parts(**_sizes(arguments))}
    missing = [name for name in shapes if name not in tensors]
    if missing:
        raise InputError(f"{_first_of(missing, 'is missing', 'are missing')}.")
    foreign = [name for name in tensors if name not in shapes]
    if foreign:
        raise InputError(
            f"{_first_of(foreign, 'is none of Apollo', 'are none of Apollo')}; the file is of "
            "another architecture."
        )
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape:
            raise InputError(
                f"the tensor {name} has the shape {tensor.shape}, which has to be {shape} with "
                f"feature_dim {arguments['features']}; the file is of another architecture."
            )
        if tensor.dtype.kind not in "fV":
            raise InputError(f"the tensor {name} is of {tensor.dtype}, which no weight is.")


def _check_tables(tables: dict[str, StoredTensor], arguments: dict) -> None:
    """Refuses rotary tables other than those that this network has."""
    own = rotary_tables(arguments["depth"], arguments["features"] // arguments["heads"])
    for name, table in tables.items():
        known = name in own and table.shape[1:] == own[name].shape[1:]
        rows = min(len(own[name]), table.shape[0]) if known else 0
        if rows < arguments["bands"] or not np.allclose(
            table.read()[:rows].astype(np.float32), own[name][:rows], atol=1e-3
        ):
            raise InputError(
                f"the tensor {name} holds other rotary embeddings than Apollo's; the file is of "
                "another architecture."
            )


def _sample_rate(frame_length: int) -> int:
    for rate in SAMPLE_RATES:
        if rate * WINDOW_MILLISECONDS // 1000 // 2 * 2 == frame_length:
            return rate
    raise UsageError(
        f"--sample-rate: the window has {frame_length} samples, which are "
        f"{WINDOW_MILLISECONDS} ms at none of the usual rates; say at which the model works."
    )


def _first_of(names: list[str], singular: str, plural: str) -> str:
    if len(names) == 1:
        return f"the tensor {names[0]} {singular}"
    return f"the tensor {names[0]} and {len(names) - 1} more {plural}"


def _either(names) -> str:
    return " or ".join(repr(name) for name in names)


def _in_words(content) -> str:
    """What a checkpoint without an Apollo holds instead."""
    for _, value in _dictionaries(content):
        names = [str(name) for name, each in value.items() if isinstance(each, StoredTensor)]
        if names:
            return f"its tensors are named {', '.join(names[:3])}, ..."
    return "the file holds no named tensors"
