"""The model card of a preset: a page made of what `metadata.json` says, and of nothing else.

`tfrestore ship` writes it beside the weights, and `tfrestore export` puts it into the card of the
SavedModel that is made of a shipped preset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import yaml

from tfrestore.evaluation.rulers import RULERS

CARD_FILE = "MODEL_CARD.md"

#: The rulers of the card's tables, where the evaluation has them.
RULERS_SHOWN = (
    "psnr",
    "snr",
    "si_sdr",
    "lsd",
    "multi_resolution_stft_error",
    "odg",
    "visqol",
)

#: Its variants, as they are called in a card.
VARIANTS = {
    "degraded": "as it came",
    "whole": "restored",
    "above": "restored above the cut-off",
}


def make_card(metadata: dict) -> str:
    """The page, Markdown, with a head that the Hugging Face hub reads.

    Args:
        metadata: Of a preset that `tfrestore ship` made.
    """
    head = {
        "library_name": "keras",
        "pipeline_tag": "audio-to-audio",
        "license": metadata["license"].lower(),
        "tags": ["tfrestore", "audio", "music", "restoration"],
    }
    front = yaml.safe_dump(head, sort_keys=False).strip()
    title = f"# {metadata['preset']}: {metadata['description'][:1].lower()}"
    lines = ["---", front, "---", "", title + metadata["description"][1:], ""]
    return "\n".join([*lines, *training_sections(metadata)]) + "\n"


def training_sections(metadata: dict) -> Iterator[str]:
    """Lines on how a preset was trained and what it is good for; none where that is not known."""
    if "training" not in metadata:
        return
    yield from _facts(metadata)
    yield from _purpose(metadata)
    yield from _training(metadata["training"], metadata["license"])
    yield from _scores(metadata["evaluation"])
    yield from _measured(metadata)
    yield from ["## Known failures", ""]
    yield from [f"- {each}" for each in metadata["known_failures"]] or ["None were found."]
    if metadata["would_help"]:
        yield from ["", "## What it would take to do better", "", metadata["would_help"]]


def _facts(metadata: dict) -> Iterator[str]:
    context = metadata["context_samples"] / metadata["sample_rate"]
    rows = {
        "network": f"`{metadata['class_name']}`, {metadata['parameter_count']:,} parameters",
        "sample rate": f"{metadata['sample_rate']} Hz",
        "context": f"{metadata['context_samples']} samples, {context:.2f} s, on either side",
        "channels": "any number, each by itself",
        "weights": f"{metadata['weights_dtype']}, {metadata['weights_bytes'] / 2**20:.2f} MiB, "
        f"SHA-256 `{metadata['weights_sha256']}`",
    }
    yield from ["| | |", "|---|---|"]
    yield from [f"| {name} | {value} |" for name, value in rows.items()]
    half = metadata["float16"]
    changes = ", ".join(f"{RULERS[name].label} by {value:.2g}" for name, value in half.items())
    kept = "kept" if metadata["weights_dtype"] == "float16" else "not used"
    yield ""
    yield f"Weights of 16 bits instead of 32, which are {kept}, change the means by: {changes}."
    yield ""


def _purpose(metadata: dict) -> Iterator[str]:
    restores, measured = metadata["restores"], metadata["measured"]
    chosen = metadata["chosen"]
    yield from ["## What it is for", ""]
    where = "mono" if restores.get("channels") == 1 else "with their channels as they are"
    good = _kinds(chosen)
    yield f"It improved {good}, {where}." if good else "It improved nothing by our rule."
    yield _role(metadata["preset"], chosen)
    yield (
        "The rule of what is improved: the multi-resolution STFT error (and for gaps the SNR) gets "
        "better; SI-SDR does not get significantly worse (p < 0.05) by more than 0.5 dB, nor the "
        "sum of ODG and ViSQOL at all."
    )
    if restores.get("bandwidth"):
        yield (
            "Of bands that were cut, SI-SDR is not asked: phases above the cut cannot be known, "
            "and what is made there at the right level is then twice as far from the original as "
            "silence is, in power, which is 3 dB."
        )
    if any("above" in variants for variants in measured.values()):
        if metadata["improves_below_cutoff"]:
            yield "Below the frequency at which the encoder cut off it improves what is there too."
        else:
            yield (
                "Below the frequency at which the encoder cut off it does not improve what is "
                "there: `tfrestore restore` keeps the recording up to it and adds what is above."
            )
    yield ""


def _role(name: str, chosen: dict[str, str | None]) -> str:
    """When a preset is used without being asked for, a sentence."""
    own = [each for each, preset in chosen.items() if preset == name]
    ask = f"ask for it with `--preset {name}`"
    if own and len(own) == len(chosen):
        return "`tfrestore restore FILE` uses it by itself for these only."
    others = dict.fromkeys(each for each in chosen.values() if each not in (name, None))
    instead = f": it chooses {' or '.join(others)} there" if others else ""
    if own:
        return (
            f"`tfrestore restore FILE` uses it by itself for {_kinds(own)} only; for the others it "
            f"does not{instead}, so {ask}."
        )
    return f"`tfrestore restore FILE` never uses it by itself{instead}; {ask}."


def _kinds(degradations: Iterable[str]) -> str:
    """Degradations as they are said in a sentence."""
    details: dict[str, list[str]] = {}
    for kind, _, detail in (name.partition(":") for name in degradations):
        details.setdefault(kind, []).append(detail)
    said = []
    if "mp3" in details:
        said.append(f"MP3s of {_listed(details['mp3'])} kbit/s")
    if "gaps" in details:
        said.append(f"gaps ({_listed(details['gaps'])})")
    if "bandwidth" in details:
        said.append(f"bands cut to {_listed(_PARTS[each] for each in details['bandwidth'])}")
    return _listed(said)


def _listed(words: Iterable[str]) -> str:
    *first, last = [*words] or [""]
    return f"{', '.join(first)} and {last}" if first else last


_PARTS = {"2": "a half", "3": "a third", "4": "a quarter", "6": "a sixth"}


def _training(training: dict, license: str) -> Iterator[str]:
    stages = training["stages"]
    yield from ["## How it was trained", "", "```"]
    yield from [stage["command"] for stage in stages]
    yield from ["```", ""]
    if len(stages) > 1:
        kept = sum(stage["kept_step"] or stage["steps"] for stage in stages)
        yield (
            f"In {len(stages)} stages, each begun with the weights of the one before; behind these "
            f"weights are {kept:,} steps. The command with `config.yaml` does the last stage only: "
            "without its `--preset` it begins with fresh weights and makes something else."
        )
        yield ""
        yield from _stage_table(stages)
    rows = {
        "music": training["music"],
        "licence of these weights": license,
        "degradations": ", ".join(f"{k} {v}" for k, v in training["data"].items()),
        "seed": training["seed"],
    }
    if len(stages) == 1:
        rows["steps"] = _steps(stages[0])
        rows["time"] = _time(stages[0])
        rows["hardware"] = stages[0]["hardware"]
    yield from ["| | |", "|---|---|"]
    yield from [f"| {name} | {value} |" for name, value in rows.items()]
    yield ""
    if training["remark"]:
        yield from [training["remark"], ""]
    if len(stages) == 1:
        told = "the rest" if training["remark"] else "all"
        yield from [
            f"`config.yaml` beside this card is {told} of it, `history.csv` its course.",
            "",
        ]
    else:
        files = _listed(f"`{s['configuration']}`, `{s['history']}`" for s in stages)
        yield from [f"Beside this card lie each stage's configuration and course: {files}.", ""]
    if training["sources"]:
        yield from ["### Sources of the music", "", training["sources"].strip(), ""]


def _stage_table(stages: list[dict]) -> Iterator[str]:
    yield "| stage | begins with | steps | time | hardware | otherwise than in the last stage |"
    yield "|---|---|---|---|---|---|"
    for stage in stages:
        cells = (
            stage["name"],
            stage["begins_with"] or "fresh weights",
            _steps(stage),
            _time(stage),
            stage["hardware"] or "not recorded",
            ", ".join(f"{key} {value}" for key, value in stage["otherwise"].items()),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _steps(stage: dict) -> str:
    planned, steps = stage["planned_steps"], stage["steps"]
    ended = "" if planned in (None, steps) else f", ended early of {planned}"
    kept = stage["kept_step"]
    weights = "" if kept is None else f"; the weights are those of step {kept}"
    return f"{steps} of {stage['batch_size']} examples{ended}{weights}"


def _time(stage: dict) -> str:
    minutes = stage["minutes"]
    if minutes is None:
        return "not recorded"
    return f"{minutes:.{0 if minutes >= 10 else 1}f} minutes on the clock by `{stage['history']}`"


def _scores(evaluation: dict) -> Iterator[str]:
    yield from ["## Scores", "", "```", evaluation["command"], "```", ""]
    yield "Mean ± standard deviation over recordings that it was not trained on, before → after:"
    yield ""
    versions, scores, best = (evaluation[each] for each in ("versions", "scores", "best"))
    names = [name for name in RULERS_SHOWN if any(name in row for row in scores.values())]
    yield "| | " + " | ".join(f"{RULERS[n].label} {RULERS[n].arrow}" for n in names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for degradation in scores:
        for rows, what in ((scores, f", mean of {versions}"), (best, f", best of {versions}")):
            row = rows.get(degradation, {})
            cells = [_change(name, row[name]) if name in row else "" for name in names]
            if row or rows is scores:
                said = what if best else ""
                yield f"| {degradation}{said} | " + " | ".join(cells) + " |"
    yield ""
    if best:
        yield (
            f"Of each recording {versions} versions were made. Their mean is what one version is "
            "worth; the best is another one by each ruler, and only who has the original can find "
            "it."
        )
        yield ""


def _measured(metadata: dict) -> Iterator[str]:
    measured, rate = metadata["measured"], metadata["measured_at"]
    if not measured:
        return
    yield from ["## As it is shipped, and with what is below the cut-off kept", ""]
    yield "Mean ± standard deviation over the same recordings, with the weights that are shipped."
    if metadata["evaluation"]["sample_rate"] != rate:
        yield (
            f"This is at {rate} Hz, the rate the preset works at, and the scores above are at "
            f"{metadata['evaluation']['sample_rate']} Hz: LSD, ODG and ViSQOL are other numbers at "
            "another rate, of what came in too."
        )
    if metadata["evaluation"]["versions"] > 1:
        yield "It is one version of each recording, candidate 1 of seed 0."
    yield ""
    names = [
        n for n in RULERS_SHOWN if any(n in v for vs in measured.values() for v in vs.values())
    ]
    yield "| | | " + " | ".join(f"{RULERS[n].label} {RULERS[n].arrow}" for n in names) + " |"
    yield "|---" * (len(names) + 2) + "|"
    for degradation, variants in measured.items():
        for variant, row in variants.items():
            cells = [_mean(n, row[n]) if n in row else "" for n in names]
            yield f"| {degradation} | {VARIANTS[variant]} | " + " | ".join(cells) + " |"
    yield ""


def _change(name: str, score: dict) -> str:
    return f"{_mean(name, score['before'])} → {_mean(name, score['after'])}"


def _mean(name: str, score: dict) -> str:
    deviation = score["standard_deviation"]
    spread = "" if deviation is None else f" ± {_number(name, deviation)}"
    return _number(name, score["mean"]) + spread


def _number(name: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.{RULERS[name].decimals}f}"
