"""Functions that yield: what they yield is a partial output; what they return, or else yielded last, is the output."""

from __future__ import annotations

from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from .error import Error

if TYPE_CHECKING:
    from .session import Call, Session


def is_generator(value: Any) -> bool:
    return type(value) is GeneratorType


def is_async_generator(value: Any) -> bool:
    return type(value) is AsyncGeneratorType


def drain(generator: Any, session: Session, call: Call) -> Any:
    """The output of a generator. It is closed where it is left early, so its `finally` runs.

    A cancel ends it at its next `yield`, unless the app's on_cancel returned True.
    """
    last = None
    try:
        while True:
            try:
                value = next(generator)
            except StopIteration as end:
                return last if end.value is None else end.value
            session.emit(value)
            last = value
            if call.must_stop:
                raise Error("cancelled", "the call was cancelled", False)
    finally:
        generator.close()


async def drain_async(generator: Any, session: Session) -> Any:
    """The same of an async generator, which asyncio cancels; it hears of that at its next `yield` too."""
    import asyncio

    last = None
    try:
        async for value in generator:
            session.emit(value)
            last = value
            await asyncio.sleep(0)
        return last
    finally:
        await generator.aclose()
