"""One file a foreign format, both directions, plain functions, no network."""
