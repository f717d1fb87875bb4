"""What a runnable holds: the parts that it is made of, and what the functions in it close over or name."""

from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType
from typing import Any, Final

from langchain_core.runnables import RunnableParallel

_FUNCTIONS: Final = ("func", "afunc", "coroutine")  # of RunnableLambda, LangGraph's callables, tools


def parts(found: object) -> Iterator[object]:
    """What a runnable is made of, and what its functions hold."""
    if isinstance(found, RunnableParallel):
        yield from found.steps__.values()
    yield from getattr(found, "steps", ())
    yield getattr(found, "bound", None)
    for name in _FUNCTIONS:
        yield from held_by(getattr(found, name, None))


def held_by(function: object) -> Iterator[object]:
    """The values in the closure of a function and in the globals that it names, one level of containers deep."""
    if isinstance(function, MethodType):
        yield function.__self__
        function = function.__func__
    function = getattr(function, "__wrapped__", function)
    if not isinstance(function, FunctionType):
        return
    held = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    held += [function.__globals__[name] for name in _names(function.__code__) if name in function.__globals__]
    for value in held:
        if isinstance(value, dict):
            yield from value.values()
        elif isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_filled(cell: Any) -> bool:  # noqa: ANN401  # types.CellType has no contents for mypy
    try:
        cell.cell_contents  # noqa: B018  # asked for its exception
    except ValueError:
        return False
    return True
