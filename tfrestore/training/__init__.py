"""Training: configuration, the loop over steps, checkpoints and what TensorBoard shows."""
