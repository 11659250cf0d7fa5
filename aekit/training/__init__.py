"""Train an objective from a recipe: settings, batches, loop, checkpoint, phases."""
