"""Fine-tuning, one file a model family."""
