"""What TensorFlow Serving's documented REST API asks for, on a model of every kind of tensor."""

import base64
import gzip
import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.model_server.json_tensors import read_object, to_array
from serving.model_server.statuses import StatusError

PREDICT = "/v1/models/toy:predict"


def error_of(answer, status=400):
    assert answer.status == status, answer
    (message,) = answer.json.values()
    assert set(answer.json) == {"error"}
    return message


# The documentation's own examples.


def test_rows_in_rows_out(api):
    answer = api.predict({"instances": [1.0, 2.0, 5.0]})
    assert (answer.status, answer.json) == (200, {"predictions": [3.5, 4.0, 5.5]})


def test_columns_in_columns_out(api):
    assert api.predict({"inputs": [1.0, 2.0, 5.0]}).json == {"outputs": [3.5, 4.0, 5.5]}
    assert api.predict({"inputs": {"x": [1.0, 2.0]}}).json == {"outputs": [3.5, 4.0]}


def test_a_single_input_may_be_named_in_rows_too(api):
    assert api.predict({"instances": [{"x": 1}, {"x": 2}]}).json == {"predictions": [3.5, 4.0]}


def test_several_inputs_and_outputs_are_objects(api):
    rows = [{"a": [1, 2], "b": 3}, {"a": [0.5, 0], "b": -4}]
    expected = [{"double": 6, "total": 6.0}, {"double": -8, "total": -3.5}]
    answer = api.predict({"signature_name": "named", "instances": rows})
    assert answer.json == {"predictions": expected}
    columns = {"a": [[1, 2], [0.5, 0]], "b": [3, -4]}
    answer = api.predict({"signature_name": "named", "inputs": columns})
    assert answer.json == {"outputs": {"double": [6, -8], "total": [6.0, -3.5]}}


def test_binary_values_go_in_and_come_out_as_base64_and_strings_as_strings(api):
    binary = base64.b64encode(b"\0\xffx").decode()
    answer = api.predict(
        {"signature_name": "strings", "instances": [{"b64": binary}, "h\u00e9", ""]}
    )
    assert answer.json["predictions"][0]["same_bytes"] == {"b64": binary}
    assert answer.json["predictions"][1] == {
        "same": "h\u00e9",
        "same_bytes": {"b64": base64.b64encode("h\u00e9".encode()).decode()},
    }
    assert answer.json["predictions"][2]["same_bytes"] == {"b64": ""}
    named = api.predict({"signature_name": "strings", "inputs": {"text": [{"b64": binary}]}})
    assert named.json["outputs"]["same_bytes"] == [{"b64": binary}]
    unpadded = api.predict({"signature_name": "strings", "inputs": [{"b64": "eHk"}]})
    assert unpadded.json["outputs"]["same"] == ["xy"]


def test_scalars_go_in_columns_and_not_in_rows(api):
    assert api.predict({"signature_name": "scalar", "inputs": 2.5}).json == {"outputs": 3.5}
    assert api.predict({"signature_name": "scalar", "inputs": {"s": 1}}).json == {"outputs": 2.0}
    error_of(api.predict({"signature_name": "scalar", "instances": [1.0]}))


def test_every_nesting_keeps_its_shape(api):
    for value in (7, [], [1], [[1, 2], [3, 4]], [[[1], [2]]], [[], []]):
        answer = api.predict({"signature_name": "integers", "inputs": value})
        assert answer.json == {"outputs": value}
    answer = api.predict({"signature_name": "integers", "instances": [[[1, 2]], [[3, 4]]]})
    assert answer.json == {"predictions": [[[1, 2]], [[3, 4]]]}


def test_numbers_that_are_not_finite_are_tokens_in_and_out(api):
    answer = api.predict('{"signature_name": "doubles", "inputs": [NaN, Infinity, -Infinity, 1]}')
    assert b"[NaN, Infinity, -Infinity, 1.0]" in answer.body
    answer = api.predict('{"instances": [NaN, -Infinity]}')
    assert b"NaN, -Infinity" in answer.body


def test_what_rapidjson_reads_is_read(api):
    """TensorFlow Serving's parser takes more than JSON."""
    answer = api.predict('{"signature_name": "doubles", "inputs": [Inf, -Inf, -NaN]}')
    assert b"[Infinity, -Infinity, NaN]" in answer.body
    answer = api.predict('{"signature_name": "strings", "inputs": ["Inf \\" -NaN"]}')
    assert "Inf" in answer.body.decode() and answer.status == 200
    # As base64 may well have it.
    text = "Inf" * 5_000_000
    assert read_object(f'{{"a": "{text}"}}'.encode()) == {"a": text}
    assert api.predict(b'\xef\xbb\xbf{"inputs": [1]}').json == {"outputs": [3.5]}
    assert api.predict('{"inputs": [1], "inputs": [2]}').json == {"outputs": [3.5]}
    answer = api.predict({"signature_name": "doubles", "inputs": [2**64, -(2**70)]})
    assert answer.json == {"outputs": [2.0**64, -(2.0**70)]}


@given(
    st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-(2**24), 2**24),
        min_size=1,
    )
)
def test_integers_among_decimals_are_the_same_numbers(values):
    largest = max((abs(each) for each in values if isinstance(each, int)), default=0)
    try:
        found = to_array(values, tf.float32)
    except StatusError as error:
        assert largest >= 2**24 and "without loss of precision" in error.message
    else:
        np.testing.assert_array_equal(found, np.array(values, np.float32))


@pytest.mark.parametrize("depth", [*range(960, 1000), 5000])
def test_any_depth_is_read_or_refused_in_words(api, depth):
    body = b'{"inputs": ' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
    assert error_of(api.predict(body))


def test_decimals_have_the_digits_they_need_and_look_like_decimals(api):
    values = np.array([0.1, 1 / 3, 1e-5, 9e6, 123456789, -0.0, 16777215, 1e30], np.float32)
    answer = api.predict({"inputs": ((values - 3) * 2).tolist()})
    assert answer.status == 200
    text = api.predict({"signature_name": "doubles", "inputs": [0.1, 1 / 3, 7, 1e300]}).body
    assert b"[0.1, 0.33333333333333331, 7.0, 1e+300]" in text


@given(st.lists(st.floats(width=32), min_size=1, max_size=50))
@settings(deadline=None, max_examples=60)
def test_float32_come_back_as_they_went_in(api, values):
    doubled = {"signature_name": "unequal", "inputs": values}
    answer = api.predict(json.dumps(doubled))
    np.testing.assert_array_equal(np.float32(answer.json["outputs"]["all"]), np.float32(values))


def test_versions_and_labels_are_found_and_names_may_be_escaped(api):
    for path in ("/versions/1", "/labels/stable", ""):
        answer = api.predict({"inputs": [1]}, f"/v1/models/toy{path}:predict")
        assert answer.json == {"outputs": [3.5]}
    assert api.predict({"inputs": [1]}, "/v1/models/%74oy:predict").status == 200
    assert api.predict({"inputs": [1]}, "/V1/Models/toy:predict").status == 200


def test_the_status_is_that_of_the_documentation(api):
    version = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("", "/versions/1", "/labels/stable"):
        answer = api.request("GET", f"/v1/models/toy{path}")
        assert (answer.status, answer.json) == (200, {"model_version_status": [version]})


def test_the_metadata_tells_the_signatures(api):
    document = api.request("GET", "/v1/models/toy/metadata").json
    assert document["model_spec"] == {"name": "toy", "signature_name": "", "version": "1"}
    signature = document["metadata"]["signature_def"]["signature_def"]["named"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    form = signature["inputs"]["a"]
    assert form["dtype"] == "DT_FLOAT"
    assert [each["size"] for each in form["tensor_shape"]["dim"]] == ["-1", "2"]
    assert api.request("GET", "/v1/models/toy/versions/1/metadata").json == document
    assert api.request("GET", "/v1/models/toy/labels/stable/metadata").json == document


# What cannot be answered.


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/models/who:predict", 404, "Servable not found for request: Latest(who)"),
        ("/v1/models/toy/versions/9:predict", 404, "Servable not found for request: Specific(toy"),
        ("/v1/models/toy/labels/x:predict", 400, "Unrecognized servable version label: x"),
        (f"/v1/models/toy/versions/{2**63}:predict", 400, "Failed to convert version"),
        ("/v1/models/toy/versions/x:predict", 400, "Malformed request: POST"),
        ("/v1/models/toy:guess", 400, "Malformed request: POST /v1/models/toy:guess"),
        ("/v1/models/toy", 400, "Malformed request: POST /v1/models/toy"),
        ("/v1/models/toy:classify", 400, "tensorflow/serving/classify. Was: tensorflow/serving/pr"),
        ("/v1/models/who:regress", 404, "Servable not found"),
        ("/v2/models/toy:predict", 404, "Not found"),
    ],
)
def test_unknown_models_versions_labels_and_methods(api, path, status, said):
    assert said in error_of(api.predict({"inputs": [1]}, path), status)


def test_what_is_wrong_with_the_body_is_told_before_what_is_wrong_with_the_model(api):
    assert "JSON Parse error" in error_of(api.predict("{", "/v1/models/who:predict"), 400)


@pytest.mark.parametrize(
    ("method", "path", "status", "said"),
    [
        ("GET", "/v1/models/who", 404, "Could not find any versions of model who"),
        ("GET", "/v1/models/toy/versions/9", 404, "Could not find version 9 of model toy"),
        ("GET", "/v1/models/who/metadata", 404, "Servable not found for request: Latest(who)"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/toy:predict", 400, "Malformed request: GET"),
        ("DELETE", "/v1/models/toy", 400, "Malformed request: DELETE"),
        ("PUT", "/v1/models/toy:predict", 400, "Malformed request: PUT"),
        ("GET", "/", 404, "Not found"),
    ],
)
def test_unknown_resources(api, method, path, status, said):
    assert said in error_of(api.request(method, path), status)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b"{", "JSON Parse error"),
        (b'{"inputs": [1]', "JSON Parse error"),
        (b'{"inputs": [1], "x": "\xff"}', "JSON Parse error: Invalid encoding"),
        (b"[1]", "Is not object"),
        (b"[" * 100000, "nested too deeply"),
        (b'{"inputs": ' + b"[" * 900 + b"]" * 900 + b"}", ""),
        (b'{"inputs": [1e400]}', "Number too big"),
        (b'{"inputs": [' + b"9" * 5000 + b"]}", ""),
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"inputs": [1], "instances": [1]}, "expecting only one of 'inputs' or 'instances'"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": 1}, "Excepting 'instances' to be an list/array"),
        ({"instances": {"x": 1}}, "Excepting 'instances' to be an list/array"),
        ({"signature_name": 100, "inputs": [1]}, "'signature_name' key must be a string value."),
        ({"signature_name": "no", "inputs": [1]}, '"no" not found in signature def'),
        ({"inputs": ["x"]}, 'JSON Value: "x" Type: String is not of expected type: float'),
        ({"inputs": [True]}, "is not of expected type: float"),
        ({"inputs": [None]}, "Type: Null is not of expected type: float"),
        ({"inputs": [{"b64": "AAAA"}]}, "Type: Object is not of expected type: float"),
        ({"inputs": [16777217]}, "Cannot convert JSON value: 16777217 to float without loss"),
        ({"inputs": [1e39]}, "to float without loss of precision"),
        ({"inputs": {"z": [1]}}, "Missing named input: x in 'inputs' object."),
        ({"inputs": [[1], [2, 3]]}, "Encountered list at unexpected size: 2 at level: 1"),
        ({"inputs": [[1], 2]}, "found at incorrect level: 2 in the JSON DOM"),
        ({"inputs": [1, [2]]}, "Encountered list at unexpected level: 1 expected < 1"),
        ({"inputs": [[1.0]]}, "not compatible with [None]"),
        ({"inputs": 1.0}, "not compatible with [None]"),
        ({"instances": [1, [2]]}, "element: 1 of 'instances' list"),
        ({"instances": [{"z": 1}]}, "key: z of 'instances' list"),
        ({"instances": [{"x": 1}, 2]}, "Expecting object but got list at item 1"),
        ({"instances": [1, {"x": 2}]}, "Expecting value/list but got object at item 1"),
        ({"signature_name": "named", "instances": [1]}, "instances is a plain list"),
        ({"signature_name": "named", "inputs": [1]}, "inputs is a plain value/list"),
        ({"signature_name": "named", "instances": [{"a": [1, 2]}]}, "keys must be equal to: a,b"),
        ({"signature_name": "named", "inputs": {"a": [[1, 2]]}}, "Missing named input: b"),
        ({"signature_name": "named", "instances": [{"a": [1, 2], "b": 1.5}]}, "type: int32"),
        ({"signature_name": "named", "instances": [{"a": [1, 2], "b": 2**31}]}, "type: int32"),
        ({"signature_name": "small", "inputs": [256]}, "type: uint8"),
        ({"signature_name": "small", "inputs": [-1]}, "type: uint8"),
        ({"signature_name": "flags", "inputs": [1]}, "type: bool"),
        ({"signature_name": "strings", "inputs": [1]}, "type: string"),
        ({"signature_name": "strings", "inputs": ["\ud800"]}, "surrogate"),
        ({"signature_name": "strings", "inputs": [{"b64": "!"}]}, "Unable to base64 decode"),
        ({"signature_name": "strings", "inputs": [{"b64": 1}]}, "not formatted correctly for base"),
        ({"signature_name": "strings", "inputs": [{"b64": "", "c": 1}]}, "not formatted correctly"),
        ({"signature_name": "unequal", "instances": [1.0, 2.0]}, "has inconsistent batch size"),
        ({"signature_name": "picky", "inputs": [-1.0]}, "x must not be negative"),
    ],
)
def test_bodies_that_are_wrong(api, body, said):
    answer = api.predict(body)
    assert said in error_of(answer)
    assert len(answer.body) < 2000


def test_a_models_own_message_is_told_without_how_it_was_called(api):
    error = api.predict({"signature_name": "picky", "inputs": [-1.0]}).json["error"]
    assert error.startswith("assertion failed: [x must not be negative]")
    assert "wrapped" not in error and "[Op:" not in error


def test_a_client_that_leaves_gets_no_answer_and_one_that_sends_too_much_an_error(api):
    part = {"type": "http.request", "body": b"{", "more_body": True}
    assert api.request("POST", PREDICT, messages=[part, {"type": "http.disconnect"}]) is None
    much = {"type": "http.request", "body": bytes(300_000), "more_body": True}
    assert "more than 1048576 bytes" in error_of(
        api.request("POST", PREDICT, messages=[much] * 5), 413
    )
    assert "at most 1048576" in error_of(api.request("POST", PREDICT, bytes(1 << 21)), 413)


def post_gzip(api, body):
    return api.request("POST", PREDICT, body, headers=[(b"content-encoding", b"gzip")])


def test_bodies_may_come_compressed_and_what_is_no_gzip_or_becomes_too_much_is_an_error(api):
    whole = gzip.compress(b'{"inputs": [1]}')
    assert post_gzip(api, whole).json == {"outputs": [3.5]}
    for wrong in (b'{"inputs": [1]}', whole[:-1], b"\x1f\x8b"):
        assert "not what gzip makes" in error_of(post_gzip(api, wrong))
    bomb = gzip.compress(bytes(1 << 25))
    assert len(bomb) < 1 << 16
    assert "when it is decompressed" in error_of(post_gzip(api, bomb), 413)


def test_prometheus_reads_counts_and_latencies_of_models_that_exist(api):
    before = api.request("GET", "/monitoring/prometheus/metrics").body.decode()
    api.predict({"inputs": [1]})
    api.predict({"inputs": ["x"]})
    api.predict({"inputs": [1]}, "/v1/models/made_up:predict")
    page = api.request("GET", "/monitoring/prometheus/metrics").body.decode()
    counts = [
        sum(
            int(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(":tensorflow:serving:request_latency_count{")
        )
        for text in (before, page)
    ]
    assert counts[1] - counts[0] == 2
    assert ':tensorflow:serving:request_count{model_name="toy",status="OK"}' in page
    assert 'model_name="toy",status="INVALID_ARGUMENT"' in page
    assert "made_up" not in page


# Anything at all.

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.builds(lambda text: {"b64": text}, st.text("AQ=-\u00e9", max_size=5)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["x", "a", "b", "text", "b64"]), inner, max_size=3)
    ),
    max_leaves=8,
)
signatures = st.sampled_from(
    "named strings scalar doubles integers small flags unequal picky serving_default no".split()
)
bodies = st.fixed_dictionaries(
    {},
    optional={"signature_name": signatures | values, "instances": values, "inputs": values},
)


routes = st.builds(
    "/v1/models/{}{}:{}".format,
    st.just("toy") | st.sampled_from(["who", "%74oy", "%00"]),
    st.sampled_from(["", "/versions/1", "/versions/9", "/labels/stable", "/labels/x"]),
    st.just("predict") | st.sampled_from(["classify", "regress", "guess"]),
)


@given(bodies, st.just(PREDICT) | routes)
@settings(deadline=None, max_examples=400)
def test_no_json_makes_the_server_fail_on_any_route(api, body, route):
    answer = api.predict(json.dumps(body), route)
    assert answer.status in ((200, 400) if route == PREDICT else (200, 400, 404))
    assert set(answer.json) <= {"error", "predictions", "outputs"}


@given(bodies, st.integers(0, 40), st.binary(max_size=4))
@settings(deadline=None, max_examples=100)
def test_no_compressed_body_makes_the_server_fail(api, body, place, instead):
    whole = gzip.compress(json.dumps(body).encode(), mtime=0)
    damaged = whole[:place] + instead + whole[place + len(instead) :]
    assert post_gzip(api, whole).status in (200, 400)
    assert post_gzip(api, damaged).status in (200, 400, 413)


@given(st.binary(max_size=100), st.sampled_from([b"", b'{"inputs":', b'{"instances": [']))
@settings(deadline=None, max_examples=100)
def test_no_bytes_make_the_server_fail(api, body, start):
    assert api.predict(start + body).status in (200, 400)


@given(
    st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "HEAD", "\u00e9"]),
    st.lists(
        st.sampled_from(
            "/ v1 models toy versions 1 labels stable metadata :predict : %00 %ff .. é".split()
        )
        | st.characters(max_codepoint=255),
        max_size=10,
    ),
)
@settings(deadline=None, max_examples=200)
def test_no_address_makes_the_server_fail(api, method, parts):
    address = "/" + "/".join(parts).replace("//", "/")
    assert api.request(method, address, b'{"inputs": [1]}').status in (200, 400, 404)
