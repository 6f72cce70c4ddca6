"""From a recipe to a train run: loop, optimisers, checkpoints, reports."""
