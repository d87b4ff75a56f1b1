"""What pull is made of."""
