"""Counters and latencies in Prometheus' text format, under TensorFlow Serving's names."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

# Upper ends in microseconds, each 1.8 times the one before, as TensorFlow Serving has them.
_BUCKETS = [10 * 1.8**power for power in range(33)]


class Metrics:
    """What has been served since the start."""

    def __init__(self):
        self._requests: Counter[tuple[str, str]] = Counter()
        self._loads: Counter[tuple[str, str]] = Counter()
        self._latencies: dict[tuple[str, str], list] = {}

    def count_request(self, model: str, entrypoint: str, status: str, seconds: float) -> None:
        """Counts a `Predict` that has been answered.

        Args:
            model: Its name.
            entrypoint: `"GRPC"` or `"REST"`.
            status: The code's name.
            seconds: From the request to the answer.
        """
        self._requests[model, status] += 1
        histogram = self._latencies.setdefault(
            (model, entrypoint), [[0] * (len(_BUCKETS) + 1), 0.0]
        )
        histogram[0][bisect_left(_BUCKETS, seconds * 1e6)] += 1
        histogram[1] += seconds * 1e6

    def count_load(self, path: str, succeeded: bool) -> None:
        """Counts an attempt to load a version from a folder."""
        self._loads[path, "success" if succeeded else "fail"] += 1

    def page(self) -> str:
        """All of them as text."""
        lines = ["# TYPE :tensorflow:serving:request_count counter"]
        for (model, status), count in sorted(self._requests.items()):
            labels = _labels(model_name=model, status=status)
            lines.append(f":tensorflow:serving:request_count{labels} {count}")
        lines.append("# TYPE :tensorflow:serving:request_latency histogram")
        for (model, entrypoint), (counts, total) in sorted(self._latencies.items()):
            names = {"model_name": model, "API": "predict", "entrypoint": entrypoint}
            seen = 0
            for end, count in zip([*map("{:g}".format, _BUCKETS), "+Inf"], counts, strict=True):
                seen += count
                labels = _labels(**names, le=end)
                lines.append(f":tensorflow:serving:request_latency_bucket{labels} {seen}")
            labels = _labels(**names)
            lines.append(f":tensorflow:serving:request_latency_sum{labels} {total:.0f}")
            lines.append(f":tensorflow:serving:request_latency_count{labels} {seen}")
        lines.append("# TYPE :tensorflow:cc:saved_model:load_attempt_count counter")
        for (path, status), count in sorted(self._loads.items()):
            labels = _labels(model_path=path, status=status)
            lines.append(f":tensorflow:cc:saved_model:load_attempt_count{labels} {count}")
        return "\n".join(lines) + "\n"


def _labels(**values: str) -> str:
    texts = []
    for name, value in values.items():
        escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        texts.append(f'{name}="{escaped}"')
    return f"{{{','.join(texts)}}}"
