"""Training of pose networks: configuration, the Lightning module, averages of weights, run folder."""
