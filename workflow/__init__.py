"""Raw images to a fine-tuned, evaluated vision model: pre-annotate, correct, train, repeat."""

__version__ = "0.1.0"
