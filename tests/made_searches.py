"""Folders of searches as `tuning.search` leaves them, made with KerasTuner's own oracles."""

import csv

import keras_tuner
import yaml

from tfrestore.models.presets import find_preset
from tfrestore.training.configuration import resolve

STEPS_PER_EPOCH = 100


def declare(hp):
    """Hyperparameters of every kind, whose defaults are unet_tiny's."""
    hp.Choice("network.filters", [4, 8, 16], default=8)
    hp.Int("network.depth", 3, 5, default=5)
    hp.Choice("network.downsampling", ["pool", "stride"], default="pool")
    hp.Boolean("network.attention_gates", default=False)
    hp.Float("recipe.learning_rate", 1e-4, 1e-2, sampling="log", default=3e-3)
    hp.Fixed("recipe.loss", "log_mse")
    return hp


def full_score(values):
    """A closed form of the objective after endless training."""
    better = {4: 0.0, 8: 1.0, 16: 1.5}[values["network.filters"]]
    rate = values["recipe.learning_rate"]
    return 30 + better + 0.5 * values["network.attention_gates"] - 2 * (rate > 8e-3)


class MadeSearch:
    """A search whose trials are made up.

    `run(trials)` makes trials until there are so many; what `outcome(number, values)` returns is
    None for one that works, or how it fails.
    """

    def __init__(self, folder, oracle=None, outcome=None, direction="max", data="demo"):
        self.folder = folder
        self.direction = direction
        objective = keras_tuner.Objective("val_psnr", direction)
        self.oracle = oracle or random_oracle()
        self.oracle.objective = objective
        self.oracle.verbose = 0
        self.oracle._set_project_dir(str(folder), "trials")
        self.outcome = outcome or (lambda number, values: None)
        self.preset = resolve(find_preset("unet_tiny"))
        folder.mkdir(parents=True, exist_ok=True)
        search = {
            "preset": "unet_tiny",
            "family": "inpainter",
            "objective": {"name": "val_psnr", "direction": direction},
            "tuner": "hyperband" if "Hyperband" in type(self.oracle).__name__ else "random",
            "max_trials": 1000,
            "data": data,
            "space": {},
            "base": self.preset.config,
            "versions": {},
        }
        (folder / "search.yaml").write_text(yaml.safe_dump(search))

    def run(self, trials):
        for _ in range(trials):
            trial = self.begin()
            if trial.status == "STOPPED":
                break
            self.end(trial)
        return self

    def begin(self):
        return self.oracle.create_trial("tuner")

    def end(self, trial, epochs=None):
        values = trial.hyperparameters.values
        number = int(trial.trial_id)
        begun = values.get("tuner/initial_epoch", 0)
        epochs = values.get("tuner/epochs", epochs or 3)
        folder = self.folder / "trials" / f"trial_{trial.trial_id}"
        tree = {name: dict(section) for name, section in self.preset.config.items()}
        for name, value in values.items():
            if not name.startswith("tuner/"):
                section, key = name.split(".")
                tree[section][key] = value
        tree["training"] |= {"steps": epochs * STEPS_PER_EPOCH, "steps_per_epoch": STEPS_PER_EPOCH}
        notes = {"preset": "unet_tiny", "family": "inpainter", "catalogue": "demo"}
        (folder / "config.yaml").write_text(yaml.safe_dump({**notes, **tree}, sort_keys=False))
        failure = self.outcome(number, values)
        rows = []
        for epoch in range(begun + 1, epochs + 1):
            sign = 1 if self.direction == "max" else -1
            value = full_score(values) - sign * 4 / epoch
            rows.append({"epoch": epoch, "step": epoch * STEPS_PER_EPOCH, "val_psnr": value})
            if not failure:
                self.oracle.update_trial(trial.trial_id, {"val_psnr": value}, step=epoch)
        (folder / "run").mkdir()
        with open(folder / "run" / "history.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        trial.status, trial.message = ("FAILED", failure) if failure else ("COMPLETED", None)
        self.oracle.end_trial(trial)


class _DefaultsFirst:
    """As in every search, the first trial has the defaults, and all the epochs there are."""

    def populate_space(self, trial_id):
        if self.trials:
            return super().populate_space(trial_id)
        epochs = {"tuner/epochs": self.max_epochs} if hasattr(self, "max_epochs") else {}
        values = declare(keras_tuner.HyperParameters()).values
        return {"status": "RUNNING", "values": {**values, **epochs}}


class _Random(_DefaultsFirst, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Hyperband(_DefaultsFirst, keras_tuner.oracles.HyperbandOracle):
    pass


def random_oracle():
    """An oracle that draws trials of three epochs."""
    return _Random(
        max_trials=1000,
        hyperparameters=declare(keras_tuner.HyperParameters()),
        # KerasTuner takes 0 for "any".
        seed=1,
        max_consecutive_failed_trials=1000,
    )


def hyperband():
    """An oracle of Hyperband with 1, 3 and 9 epochs."""
    return _Hyperband(
        max_epochs=9,
        factor=3,
        hyperparameters=declare(keras_tuner.HyperParameters()),
        # KerasTuner takes 0 for "any".
        seed=1,
    )
