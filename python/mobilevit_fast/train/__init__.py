"""Training: fine-tuning, distillation, and the embedded demonstration model."""
