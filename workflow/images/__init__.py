"""From files to upright pixels, and files found by what a stranger calls them."""
