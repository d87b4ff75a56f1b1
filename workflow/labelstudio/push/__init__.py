"""What push is made of: the difference, the upload, addresses, predictions."""
