"""best.yaml: the configuration of a search's best trial, as `python -m tfrestore.train` takes it.

It is the trial's own training configuration, complete, with the number of steps that the trial had,
Hyperband's earlier rounds included. Training depends on nothing else (the examples, initial weights
and degradations follow from its seed), so that `train --config best.yaml` repeats the trial.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from tfrestore.complete_files import write_text
from tfrestore.errors import UsageError
from tfrestore.models.presets import find_preset
from tfrestore.training.configuration import NOTES, SECTIONS, read_config, resolve
from tuning.search_results import SearchResults
from tuning.trial_table import Line, format_score

BEST_FILE = "best.yaml"


def write_best(results: SearchResults, line: Line, path: Path) -> None:
    """Writes the configuration of a trial, complete or not at all.

    Args:
        results: The search.
        line: Its best trial, or another.
        path: Where to.

    Raises:
        UsageError: if the trial's configuration is missing or train would not take it.
        OSError: if the file cannot be written.
    """
    trial = line.trial
    if not trial.config_file.is_file():
        raise UsageError(f"{trial.config_file} is missing.")
    found = read_config(trial.config_file)
    name = found.get("preset", results.preset)
    configuration = resolve(find_preset(name), trial.config_file, steps=trial.steps).config
    if missing := [section for section in SECTIONS if section not in found]:
        raise UsageError(f"{trial.config_file}: has no section {missing[0]!r}; it is damaged.")
    notes = {"preset": name, "family": results.family, "catalogue": results.data}
    notes |= {note: found[note] for note in NOTES if note in found}
    text = yaml.safe_dump({**notes, **configuration}, sort_keys=False, allow_unicode=True)
    write_text(path, _heading(results, line, path) + text)


def _heading(results: SearchResults, line: Line, path: Path) -> str:
    trial = line.trial
    better = "higher" if results.higher_is_better else "lower"
    lines = [
        f"{'The best' if line.is_best else 'A'} trial of a search: preset {results.preset}, "
        f"{results.tuner}, {results.folder}.",
        f"Trial {trial.name}: {results.objective} {format_score(trial.score)} ({better} is better)"
        + (f", the best within {trial.steps} steps." if trial.steps else "."),
    ]
    if line.gain is not None and not line.is_baseline:
        lines.append(
            f"That is {line.gain:+.4g} of the preset's own setting after {line.compared_at} steps "
            "(positive is better)."
        )
    lines.append(f"python -m tfrestore.train --config {path} --out FOLDER repeats its training.")
    return "".join(f"# {_one_line(each)}\n" for each in lines)


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)
