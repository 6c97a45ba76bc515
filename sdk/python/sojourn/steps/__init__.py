"""Inspection algorithms that work in steps and keep in their session what one step found for the next.

    from sojourn.steps import Algorithm

An algorithm written for the ProcVision SDK changes its import line only: BaseAlgorithm is the same class. Serve it with
`python3 -m sojourn.steps MODULE:CLASS` as the command of an app.toml, or `sojourn.serve(sojourn.steps.app(CLASS))`; an
instance does as well as a class, and its methods may be static.
"""

from .algorithm import Algorithm, BaseAlgorithm, Diagnostics, StructuredLogger
from .app import app
from .codes import (
    CODES,
    FatalError,
    GPUOutOfMemoryError,
    ProgramError,
    RecoverableError,
    StepError,
)
from .images import Image, open_image, put_image, read_image_from_shared_memory, remove_image
from .runner import Detection, Recorder, StepRunner, detect
from .session import Session

__all__ = [
    "Algorithm",
    "BaseAlgorithm",
    "CODES",
    "Detection",
    "Diagnostics",
    "FatalError",
    "GPUOutOfMemoryError",
    "Image",
    "ProgramError",
    "Recorder",
    "RecoverableError",
    "Session",
    "StepError",
    "StepRunner",
    "StructuredLogger",
    "app",
    "detect",
    "open_image",
    "put_image",
    "read_image_from_shared_memory",
    "remove_image",
]
