"""What a network sees in an image, as one vector: for maps, similarity, uniqueness and near-duplicates."""
