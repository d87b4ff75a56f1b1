"""YOLO's labels: the lines of a label file, outlines in one stroke, and the folders they lie in."""
