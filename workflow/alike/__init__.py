"""Near-copies among a project's images: what looks alike, and what of it would leak between the splits."""
