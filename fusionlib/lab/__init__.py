"""Training from scratch and fine-tuning, enough to make families of checkpoints worth merging."""
