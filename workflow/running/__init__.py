"""How work is run: stages, processes, prefetching, progress."""
