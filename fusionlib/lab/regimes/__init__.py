"""Training regimes, one file each: ways of training that leave checkpoints, or a posterior, worth merging."""
