"""Fine-tune an encoder on labeled samples, and classify with it."""
