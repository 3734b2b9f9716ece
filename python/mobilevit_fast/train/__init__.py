"""Training: the embedded demonstration model."""
