"""The one table of error codes of algorithms, as sdk/steps_cases.json has it, and how a step fails with one of them."""

from __future__ import annotations

from typing import NamedTuple, Optional


class Code(NamedTuple):
    number: str
    name: str
    fatal: bool


CODES = tuple(
    Code(number, name, fatal)
    for number, name, fatal in (
        ("1000", "unknown", False),
        ("1001", "invalid_pid", False),
        ("1002", "image_load_failed", False),
        ("1003", "model_not_found", True),
        ("1004", "gpu_oom", True),
        ("1005", "timeout", False),
        ("1006", "invalid_params", False),
        ("1007", "coordinate_invalid", False),
        ("1008", "unsupported_color_space", False),
        ("1009", "algorithm_failed", False),
        ("1011", "setup_failed", True),
        ("1012", "image_not_found", False),
        ("1013", "invalid_result", False),
        ("1014", "step_not_allowed", False),
        ("1015", "hook_failed", False),
        ("1016", "fatal", True),
        ("1017", "not_serializable", False),
    )
)
_BY_WORD = {word: code for code in CODES for word in (code.number, code.name)}


def find_code(word: str) -> Optional[Code]:
    """The code whose number or name is `word`, if the table has it."""
    return _BY_WORD.get(word)


def readable(text: object) -> str:
    """As text that may be told: a file's name, say, may hold what is no Unicode."""
    return str(text).encode("utf-8", "replace").decode()


class StepError(Exception):
    """Raise it to fail a step with a code of the table, by its name or number. Any other exception is algorithm_failed.

    After a recoverable error the same instance takes the next call; after a fatal one it is torn down, and the next
    call sets up another.
    """

    default = "algorithm_failed"

    def __init__(self, message: str = "", code: Optional[str] = None) -> None:
        super().__init__(message)
        found = find_code(code or self.default)
        if found is None:
            raise ValueError(f"{code!r} is no code of the table")
        self.code = found
        self.message = readable(message) or type(self).__name__


class RecoverableError(StepError):
    pass


class FatalError(StepError):
    default = "fatal"


class GPUOutOfMemoryError(FatalError):
    default = "gpu_oom"


class ProgramError(FatalError):
    pass
