"""KerasTuner's view of the model families: what can be searched."""
