"""Boxes, outlines, masks and points in numpy: one place a verb."""
