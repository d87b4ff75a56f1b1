"""The Hugging Face dataset: columns a task, Parquet, card."""
