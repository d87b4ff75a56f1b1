"""What push is made of: the difference, the sender, addresses, predictions."""
