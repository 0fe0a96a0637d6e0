"""The model card of a preset: a page made of what `metadata.json` says, and of nothing else.

`tfrestore ship` writes it beside the weights, and `tfrestore export` puts it into the card of the
SavedModel that is made of a shipped preset.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    yield from _measured(metadata["measured"])
    yield from ["## Known failures", ""]
    yield from [f"- {each}" for each in metadata["known_failures"]] or ["None were found."]


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
    good = [
        f"MP3s of {rate} kbit/s"
        for rate, gain in restores.get("mp3", {}).items()
        if gain is not None
    ]
    good += [f"gaps ({kind})" for kind in restores.get("gaps", {})]
    good += [
        f"bands cut to {_parts(factor)}"
        for factor, gain in restores.get("bandwidth", {}).items()
        if gain is not None
    ]
    yield from ["## What it is for", ""]
    where = "mono" if restores.get("channels") == 1 else "with their channels as they are"
    yield f"It improved {', '.join(good)}, {where}." if good else "It improved nothing by our rule."
    yield (
        "`tfrestore restore FILE` uses it by itself for these only. The rule: the multi-resolution "
        "STFT error (and for gaps the SNR) gets better; SI-SDR does not get significantly worse "
        "(p < 0.05) by more than 0.5 dB, nor the sum of ODG and ViSQOL at all."
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


def _parts(factor: str) -> str:
    return {"2": "a half", "3": "a third", "4": "a quarter", "6": "a sixth"}[factor]


def _training(training: dict, license: str) -> Iterator[str]:
    yield from ["## How it was trained", "", "```", training["command"], "```", ""]
    rows = {
        "music": training["music"],
        "licence of these weights": license,
        "degradations": ", ".join(f"{k} {v}" for k, v in training["data"].items()),
        "steps": f"{training['steps']} of {training['batch_size']} examples; "
        f"the weights are those of step {training['kept_step']}",
        "seed": training["seed"],
        "hardware": training["hardware"],
    }
    yield from ["| | |", "|---|---|"]
    yield from [f"| {name} | {value} |" for name, value in rows.items()]
    yield from ["", "`config.yaml` beside this card is all of it, `history.csv` its course.", ""]
    if training["sources"]:
        yield from ["### Sources of the music", "", training["sources"].strip(), ""]


def _scores(evaluation: dict) -> Iterator[str]:
    yield from ["## Scores", "", "```", evaluation["command"], "```", ""]
    yield "Mean ± standard deviation over recordings that it was not trained on, before → after:"
    yield ""
    scores = evaluation["scores"]
    names = [name for name in RULERS_SHOWN if any(name in row for row in scores.values())]
    yield "| | " + " | ".join(f"{RULERS[n].label} {RULERS[n].arrow}" for n in names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for degradation, row in scores.items():
        cells = [_change(name, row[name]) if name in row else "" for name in names]
        yield f"| {degradation} | " + " | ".join(cells) + " |"
    yield ""


def _measured(measured: dict) -> Iterator[str]:
    if not measured:
        return
    yield from ["## As it is shipped, and with what is below the cut-off kept", ""]
    names = [
        n for n in RULERS_SHOWN if any(n in v for vs in measured.values() for v in vs.values())
    ]
    yield "| | | " + " | ".join(f"{RULERS[n].label} {RULERS[n].arrow}" for n in names) + " |"
    yield "|---" * (len(names) + 2) + "|"
    for degradation, variants in measured.items():
        for variant, row in variants.items():
            cells = [_number(n, row[n]["mean"]) if n in row else "" for n in names]
            yield f"| {degradation} | {VARIANTS[variant]} | " + " | ".join(cells) + " |"
    yield ""


def _change(name: str, score: dict) -> str:
    before, after = (
        f"{_number(name, score[when]['mean'])} ± {_number(name, score[when]['standard_deviation'])}"
        for when in ("before", "after")
    )
    return f"{before} → {after}"


def _number(name: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.{RULERS[name].decimals}f}"
