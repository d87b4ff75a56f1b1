"""A project on disk: paths, settings, rows."""
