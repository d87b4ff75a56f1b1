"""One stage, one file: a function from settings and files to files."""
