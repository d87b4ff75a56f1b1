"""The one palette: Okabe and Ito's, told apart by most colour-blind people (jfly.uni-koeln.de/color)."""

from __future__ import annotations

ORANGE, SKY, GREEN, YELLOW = "#e69f00", "#56b4e9", "#009e73", "#f0e442"
BLUE, RED, PINK, GRAY = "#0072b2", "#d55e00", "#cc79a7", "#999999"

# Classes on a picture: without the yellow and gray that vanish on paper.
ON_PICTURES = (RED, BLUE, GREEN, PINK, ORANGE, SKY)
# Classes painted over a picture, where yellow shows.
ON_LAYERS = (ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK, GRAY)
# Classes in lists, where yellow does not show and more are wanted before they repeat.
IN_LISTS = (ORANGE, SKY, GREEN, BLUE, RED, PINK, "#6a3d9a", "#8c510a", "#66a61e", "#b2182b")
# Who said it: people, the model before, the model after, and then any further model.
WHO = (GREEN, ORANGE, BLUE, PINK, SKY, RED)
