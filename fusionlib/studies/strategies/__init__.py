"""Ways to search for the best network of K checkpoints, one file each; none of them loads torch."""
