"""What the report says in sentences, and report.md, which holds them with table and pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tfrestore.evaluation.cells import markdown_table
from tuning.importance import Importances
from tuning.search_results import SearchResults
from tuning.trial_results import COMPLETED
from tuning.trial_table import Line, format_markdown, format_score, format_steps


def describe(results: SearchResults, lines: Sequence[Line]) -> list[str]:
    """The search and what came of it, a sentence or two per paragraph."""
    counts = Counter(trial.status for trial in results.trials)
    order = [COMPLETED, *(status for status in counts if status != COMPLETED)]
    found = ", ".join(f"{counts[status]} {status}" for status in order)
    better = "higher" if results.higher_is_better else "lower"
    said = [
        f"Preset {results.preset}, family {results.family}, tuner {results.tuner}, data "
        f"{results.data}, objective {results.objective} ({better} is better). "
        f"{_count(len(results.trials), 'trial')}: {found}."
    ]
    best = next((line for line in lines if line.is_best), None)
    if best is not None:
        text = f"Best: trial {best.trial.name}, {results.objective} "
        text += format_score(best.trial.score)
        if best.trial.steps:
            text += f" after {format_steps(best.trial)} steps"
        said.append(f"{text}{_against_baseline(best)}.")
        if ahead := results.ahead_of_best():
            leads = [f"{trial.name} ({lead:+.3g} after {trial.steps})" for trial, lead in ahead]
            said.append(
                f"Not trained as long, but ahead of it after as many steps: {', '.join(leads)}."
            )
    if len(results.steps) > 1:
        said.append(
            f"Trials had different numbers of steps ({', '.join(map(str, results.steps))}), after "
            "which their values are not to be compared; gains are over the preset's own setting "
            "(the baseline) after as many steps."
        )
    return said


def _against_baseline(line: Line) -> str:
    if line.is_baseline:
        return ", which is the preset's own setting (the baseline)"
    if line.gain is None:
        return ""
    kind = "better" if line.gain >= 0 else "worse"
    return (
        f"; {abs(line.gain):.4g} {kind} than the preset's own setting (the baseline) after "
        f"{line.compared_at} steps"
    )


def coordinates_caption(results: SearchResults) -> str:
    """What the lines of the parallel coordinates are."""
    return (
        f"A line per trial, yellow to violet from the worst {results.objective} to the best"
        f"{' among trials of as many steps' * (len(results.steps) > 1)}. The best of all is thick "
        "and red, the preset's own setting (the baseline) dashed; failed and skipped trials are "
        "dotted."
    )


def importance_note(importances: Importances, steps: int) -> str:
    """What the shares are and how far they are to be trusted.

    Args:
        importances: The shares.
        steps: After how many steps the configurations were compared.
    """
    trust = f"R² {importances.r_squared:.2f} on configurations that a tree has not seen"
    if importances.r_squared <= 0:
        trust += ", so that these shares mean nothing yet"
    names = [share.name for share in importances.shares if share.low > importances.idle.total]
    clear = f"Clearly above that: {', '.join(names)}." if names else "None is clearly above that."
    return (
        "Share of the variance of the objective over the whole space that a hyperparameter "
        "explains together with others, and alone (functional ANOVA of regression trees, Hutter "
        f"et al. 2014), from {_count(importances.configurations, 'configuration')}, all after "
        f"{steps} steps; {trust}. One without any effect gets {importances.idle.total:.2f}. {clear}"
    )


def make_markdown(
    results: SearchResults,
    lines: Sequence[Line],
    importances: Importances | None,
    note: str,
    pictures: Iterable[str],
) -> str:
    """report.md.

    Args:
        results: The search.
        lines: Its trials.
        importances: What matters; `None` where nothing can be said.
        note: What is to be said about the importances, or why there are none.
        pictures: The names of the pictures beside it.
    """
    text = [f"# Search of {results.preset} by {results.objective}", ""]
    for each in describe(results, lines):
        text += [each, ""]
    text += [*format_markdown(results, lines), "", coordinates_caption(results), ""]
    text += [
        *(f"![{name.partition('.')[0].replace('-', ' ')}]({name})\n" for name in pictures),
        note,
    ]
    if importances is not None:
        cells = [
            [share.name, *(f"{n:.2f}" for n in (share.total, share.alone, share.low, share.high))]
            for share in (*importances.shares, importances.idle)
        ]
        text += [
            "",
            *markdown_table(["hyperparameter", "with others", "alone", "5 %", "95 %"], cells),
        ]
    return "\n".join(text) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
