"""Networks that can run a checkpoint, one file each."""
