"""What lies where in the folder of a search."""

#: What was asked for.
REQUEST_FILE = "search.yaml"

#: KerasTuner's project directory, with a folder `trial_NUMBER` for each trial.
TRIALS = "trials"

#: In a trial's folder, beside its trial.json and config.yaml, the folder of its training.
RUN = "run"

#: In that, TensorBoard's files: curves in folders below, and the trial's values, which are ours.
LOGS = "logs"
