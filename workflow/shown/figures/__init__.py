"""What a report shows: plots (plots.py) and pictures (pictures.py), in colours of their own (colours.py)."""
