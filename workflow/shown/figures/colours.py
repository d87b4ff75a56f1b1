"""Okabe and Ito's colours, which most colour-blind people tell apart: who said it; truth is also dashed."""

TRUTH, BASE, TUNED, WRONG = "#009e73", "#e69f00", "#0072b2", "#d55e00"
