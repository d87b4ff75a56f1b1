"""Everything that can go wrong on purpose.

    WorkflowError
    ├── ConfigError         project.toml is missing, malformed or contradicts itself
    ├── ImageError          one image cannot be read as such
    ├── FormatError         a label cannot be carried exactly by a format
    ├── StageError          a stage lacks what an earlier stage makes
    ├── ModelError          a model or checkpoint cannot be loaded or run
    │   ├── OutOfMemory     it was shown more at a time than memory holds
    │   └── ProcessDied     the process that it runs in ended
    ├── ServiceError        a local server does not start, answer or stop
    └── LabelStudioError    Label Studio refused a request or lost something
        └── LostAnswer      a request was sent, and what became of it is not known

Each says what is wrong and where; `fix` says what to type next. The command line prints both on
one line and exits with 1, without a traceback unless `--debug` is given.
"""

from __future__ import annotations


class WorkflowError(Exception):
    """A problem a person can mend. `problem` is one line; `fix` is the next command or edit."""

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem} -> {self.fix}" if self.fix else self.problem


class ConfigError(WorkflowError):
    """`problems` holds every mistake found, one line each."""

    def __init__(self, problems: list[str], fix: str = "") -> None:
        super().__init__("\n".join(problems), fix)
        self.problems = problems


class ImageError(WorkflowError):
    """`reason` is one word for the quarantine list: truncated, not-an-image, too-large, ..."""

    def __init__(self, problem: str, reason: str, fix: str = "") -> None:
        super().__init__(problem, fix)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str, str]]:
        return type(self), (self.problem, self.reason, self.fix)


class FormatError(WorkflowError):
    pass


class StageError(WorkflowError):
    pass


class ModelError(WorkflowError):
    pass


class OutOfMemory(ModelError):
    """A model was shown more at a time than its device's memory holds."""


class ProcessDied(ModelError):
    """The process that a model runs in ended before it answered."""


class ServiceError(WorkflowError):
    pass


class LabelStudioError(WorkflowError):
    pass


class LostAnswer(LabelStudioError):
    pass


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of Python's or torch's (which need not be here) says that memory is short."""
    if isinstance(error, MemoryError | OutOfMemory) or type(error).__name__ == "OutOfMemoryError":
        return True
    # What torch raises on the CPU has no class of its own.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
