"""Who said it, by colour; truth is also dashed."""

from workflow.colours import RED, WHO

TRUTH, BASE, TUNED, *_ = WHO
WRONG = RED
