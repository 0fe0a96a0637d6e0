"""JSON to tensors and back, by the rules of TensorFlow Serving's REST API.

https://www.tensorflow.org/tfx/serving/api_rest: `instances` is a row per element, `inputs` a column
per input; both may leave out the name of a single input; binary values are `{"b64": ...}`, and so
are outputs whose name ends in `_bytes`. `NaN`, `Infinity` and `-Infinity` are numbers.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from serving.model_server.statuses import Code, StatusError, invalid

#: Dtypes of inputs by name, of one signature.
Inputs = Mapping[str, tf.DType]

_INTEGERS = (tf.int8, tf.int16, tf.int32, tf.int64, tf.uint8, tf.uint16, tf.uint32, tf.uint64)
_LARGEST_EXACT_INTEGER = {tf.float32: 2**24 - 1, tf.float64: 2**53 - 1}

# A number that might be beyond what a double holds; what json makes of it is Infinity.
_HUGE_NUMBER = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{309}")

# What RapidJSON, TensorFlow Serving's parser, reads as well; strings are passed over.
_STRING_OR_SHORT_CONSTANT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-NaN|-?Inf(?!inity)', re.DOTALL)

# Of NumPy's arrays.
_MOST_DIMENSIONS = 32

# Of a value in a message.
_MOST_SHOWN = 200


@dataclass(frozen=True)
class PredictBody:
    """The body of a `:predict` request.

    Attributes:
        signature: Its name; empty for the default one.
        inputs: Arrays by name.
        in_rows: Whether it came as `instances`, which decides the form of the answer.
    """

    signature: str
    inputs: dict[str, np.ndarray]
    in_rows: bool


def read_predict_body(body: bytes, find_inputs: Callable[[str], Inputs]) -> PredictBody:
    """Reads the body of a `:predict` request.

    Args:
        body: The JSON.
        find_inputs: Gives the inputs of a signature, by its name (empty for the default one).

    Raises:
        StatusError: if it is none; also what `find_inputs` raises.
    """
    try:
        return _read_predict_object(read_object(body), find_inputs)
    except RecursionError:
        # json reads a little more than it shows again in a message.
        raise _too_deep() from None


def _read_predict_object(document: dict, find_inputs: Callable[[str], Inputs]) -> PredictBody:
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must be "
            "a string value."
        )
    inputs = find_inputs(signature)
    if not inputs:
        raise invalid(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(
                f"JSON Value: {_shown(document)} Excepting 'instances' to be an list/array"
            )
        if not rows:
            raise invalid(f"JSON Value: {_shown(document)} No values in 'instances' array")
        return PredictBody(signature, _from_rows(rows, inputs), True)
    if "inputs" in document:
        return PredictBody(signature, _from_columns(document["inputs"], inputs), False)
    raise invalid("Missing 'inputs' or 'instances' key")


def read_object(body: bytes) -> dict:
    """Parses JSON whose outermost value is an object.

    Raises:
        StatusError: if it is something else.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        # json takes a number that is too large for Infinity, which is a number of its own here.
        strict = {"parse_float": _finite} if _HUGE_NUMBER.search(body) else {}
        if b"Inf" in body or b"-NaN" in body:
            body = _STRING_OR_SHORT_CONSTANT.sub(_spelt_out, body)
        document = json.loads(
            body.decode("utf-8-sig"),
            parse_constant=_constant,
            object_pairs_hook=_first_of_each,
            **strict,
        )
        if not isinstance(document, dict):
            raise invalid(f"JSON Value: {_shown(document)} Is not object")
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from None
    except UnicodeDecodeError as error:
        raise invalid(
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from None
    return document


def _too_deep() -> StatusError:
    return invalid("JSON Parse error: Values are nested too deeply.")


def _first_of_each(members: list[tuple]) -> dict:
    """An object in which the first of several members of one name counts."""
    found: dict = {}
    for name, value in members:
        found.setdefault(name, value)
    return found


def _spelt_out(found: re.Match) -> bytes:
    text = found.group()
    if text.startswith(b'"'):
        return text
    return b"NaN" if text == b"-NaN" else text + b"inity"


def _constant(name: str) -> float:
    return float(name.replace("Infinity", "inf"))


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise invalid("JSON Parse error: Number too big to be stored in double.")
    return value


def _from_rows(rows: list, inputs: Inputs) -> dict[str, np.ndarray]:
    if len(inputs) > 1 and not isinstance(rows[0], dict):
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    named = _is_named(rows[0])
    (single, *_) = inputs
    columns: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for number, row in enumerate(rows):
        if named != _is_named(row):
            raise invalid(
                f"Expecting object but got list at item {number} of input list"
                if named
                else f"Expecting value/list but got object at item {number} of input list"
            )
        for name, value in (row if named else {single: row}).items():
            where = f"element: {number} key: {name}" if named else f"element: {number}"
            try:
                array = _row(value, name, inputs, columns)
                columns[name].append(array)
            except StatusError as error:
                raise invalid(
                    f"Failed to process {where} of 'instances' list. Error: "
                    f"{error.code.name}: {error.message}"
                ) from None
        if named and set(row) != set(inputs):
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{_shown(row)} keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {name: np.stack(values) for name, values in columns.items()}


def _is_named(row) -> bool:
    return isinstance(row, dict) and not _is_base64(row)


def _row(value, name: str, inputs: Inputs, columns: dict[str, list[np.ndarray]]) -> np.ndarray:
    if name not in inputs:
        raise invalid(f"JSON object: does not have named input: {name}")
    array = to_array(value, inputs[name])
    if columns[name]:
        first = columns[name][0]
        if first.size != array.size:
            raise invalid(f"Expecting tensor size: {first.size} but got: {array.size}")
        if first.shape != array.shape:
            shapes = (str(list(each.shape)).replace(" ", "") for each in (first, array))
            raise invalid("Expecting shape {} but got: {}".format(*shapes))
    return array


def _from_columns(value, inputs: Inputs) -> dict[str, np.ndarray]:
    if not _is_named(value):
        if len(inputs) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        ((name, dtype),) = inputs.items()
        return {name: to_array(value, dtype)}
    columns = {}
    for name, dtype in inputs.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        columns[name] = to_array(value[name], dtype)
    return columns


def to_array(value, dtype: tf.DType) -> np.ndarray:
    """A nested list, or a single value, as an array.

    Raises:
        StatusError: if it is ragged, or a value is not of the dtype.
    """
    shape, inner = [], value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    # Rows are stacked, which takes one more.
    if len(shape) >= _MOST_DIMENSIONS:
        raise invalid(f"Encountered list at unexpected level: {_MOST_DIMENSIONS}")
    flat: list = []
    _flatten(value, 0, shape, dtype, flat)
    if dtype == tf.string:
        array = np.empty(len(flat), object)
        array[:] = flat
        return array.reshape(shape)
    try:
        return np.array(flat, dtype.as_numpy_dtype).reshape(shape)
    except OverflowError:
        wrong = next(each for each in flat if not _fits(each, dtype))
        raise _type_error(wrong, dtype) from None


def _fits(value: int, dtype: tf.DType) -> bool:
    return dtype.min <= value <= dtype.max


def _flatten(value, level: int, shape: list[int], dtype: tf.DType, flat: list) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        flat.append(_checked(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    # The usual case, which is not looked at one by one.
    if level == len(shape) - 1 and _are_plain(value, dtype):
        flat.extend(value)
        return
    for each in value:
        _flatten(each, level + 1, shape, dtype, flat)


def _are_plain(values: list, dtype: tf.DType) -> bool:
    """Whether all are surely what `_checked` takes as they are."""
    kinds = set(map(type, values))
    if dtype in _INTEGERS:
        return kinds == {int} and _fits(min(values), dtype) and _fits(max(values), dtype)
    if dtype not in _LARGEST_EXACT_INTEGER or not kinds or not kinds <= {int, float}:
        return False
    if int in kinds:
        integers = [value for value in values if type(value) is int]
        if max(max(integers), -min(integers)) > _LARGEST_EXACT_INTEGER[dtype]:
            return False
    doubles = np.array(values, np.float64)
    return bool((~(np.abs(doubles) > dtype.max) | np.isinf(doubles)).all())


def _checked(value, dtype: tf.DType):
    """A single value as what numpy makes an array of."""
    if isinstance(value, dict):
        if dtype != tf.string:
            raise _type_error(value, dtype)
        return _decode_base64(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype in _LARGEST_EXACT_INTEGER:
        if not is_number:
            raise _type_error(value, dtype)
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            # No integer has more bits there, so that it is a decimal number.
            value = _as_double(value)
        exact = abs(value) <= (
            _LARGEST_EXACT_INTEGER[dtype] if isinstance(value, int) else dtype.max
        )
        if not exact and not (isinstance(value, float) and not math.isfinite(value)):
            kind = "float" if dtype == tf.float32 else "double"
            raise invalid(
                f"Cannot convert JSON value: {_shown(value)} to {kind} without loss of precision."
            )
        return value
    if dtype in _INTEGERS:
        if not is_number or isinstance(value, float) or not _fits(value, dtype):
            raise _type_error(value, dtype)
        return value
    if dtype == tf.bool:
        if not isinstance(value, bool):
            raise _type_error(value, dtype)
        return value
    if dtype == tf.string:
        if not isinstance(value, str):
            raise _type_error(value, dtype)
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError:
            raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from None
    raise StatusError(
        Code.UNIMPLEMENTED, f"Conversion of JSON Value: {_shown(value)} to type: {dtype.name}"
    )


def _as_double(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise invalid("JSON Parse error: Number too big to be stored in double.") from None


def _is_base64(value: dict) -> bool:
    return len(value) == 1 and isinstance(value.get("b64"), str)


def _decode_base64(value: dict) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
    text = value["b64"]
    try:
        # Padding may be left out.
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def _type_error(value, dtype: tf.DType) -> StatusError:
    kinds = {dict: "Object", list: "Array", str: "String", type(None): "Null", bool: str(value)}
    return invalid(
        f"JSON Value: {_shown(value)} Type: {kinds.get(type(value), 'Number')} is not of expected "
        f"type: {dtype.name.replace('float32', 'float').replace('float64', 'double')}"
    )


def _shown(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def write_predict_answer(outputs: Mapping[str, np.ndarray], in_rows: bool) -> bytes:
    """Writes the answer to a `:predict` request.

    Args:
        outputs: Arrays by name, one or more.
        in_rows: Whether the request came as `instances`.

    Raises:
        StatusError: if the outputs cannot be put in rows.
    """
    if not in_rows:
        texts = {name: _text(name, array) for name, array in sorted(outputs.items())}
        return _document("outputs", _object(texts, "    "))
    rows = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if rows not in (None, len(array)):
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}"
            )
        rows = len(array)
    texts = []
    for number in range(rows):
        row = {name: _text(name, array[number, ...]) for name, array in sorted(outputs.items())}
        texts.append(_object(row, "        "))
    return _document("predictions", f"[{', '.join(texts)}\n    ]")


def _document(key: str, text: str) -> bytes:
    return f'{{\n    "{key}": {text}\n}}'.encode()


def _object(texts: dict[str, str], indent: str) -> str:
    """The members of an object; a single one goes without its name."""
    if len(texts) == 1:
        (text,) = texts.values()
        return text
    members = f",\n{indent}    ".join(f"{json.dumps(name)}: {texts[name]}" for name in texts)
    return f"{{\n{indent}    {members}\n{indent}}}"


def _text(name: str, array: np.ndarray) -> str:
    """A nested list of an array's values."""
    if array.ndim > 1:
        return f"[{', '.join(_text(name, each) for each in array)}]"
    if array.dtype == object:
        as_bytes = name.endswith("_bytes")
        texts = [_string(each, as_bytes) for each in array.reshape(-1)]
    elif array.dtype.kind == "f":
        texts = _decimals(array.reshape(-1))
    elif array.dtype.kind in "iu":
        texts = map(str, array.reshape(-1).tolist())
    elif array.dtype.kind == "b":
        texts = ("true" if each else "false" for each in array.reshape(-1))
    else:
        raise invalid(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    return f"[{', '.join(texts)}]" if array.ndim else next(iter(texts))


def _string(value: bytes, as_bytes: bool) -> str:
    if as_bytes:
        return f'{{ "b64": "{base64.b64encode(value).decode()}" }}'
    return json.dumps(value.decode("utf-8", "replace"), ensure_ascii=False)


def _decimals(values: np.ndarray) -> list[str]:
    """Six digits where they are enough, else as many as tell a number from its neighbours."""
    digits = 17 if values.dtype == np.float64 else 9
    doubles = values.astype(np.float64).tolist()
    texts = [f"{value:.6g}" for value in doubles]
    short = np.array(texts, np.float64).astype(values.dtype)
    for index in np.flatnonzero((short != values) & np.isfinite(values)):
        texts[index] = f"{doubles[index]:.{digits}g}"
    for index, text in enumerate(texts):
        if "." not in text and "e" not in text:
            texts[index] = _SPECIAL.get(text, f"{text}.0")
    return texts


_SPECIAL = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def write_error(message: str) -> bytes:
    """The body of an answer that is an error."""
    return f'{{\n    "error": {json.dumps(message)}\n}}'.encode()
