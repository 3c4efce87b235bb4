"""Things that make checkpoints: training by regimes, and soups whose weights are learned."""
