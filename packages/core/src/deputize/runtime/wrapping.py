"""Functions under a guard, and functions that take the current session with them."""

import asyncio
import contextvars
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Sequence
from typing import ParamSpec, TypeVar, cast, overload

from deputize.model.failure import ConfigurationError
from deputize.runtime.tool_calls import tool_call

P = ParamSpec("P")
R = TypeVar("R")


@overload
def tool(
    fn: Callable[P, R], /, *, scopes: Sequence[str] | None = None, resource: str | None = None, name: str | None = None
) -> Callable[P, R]: ...


@overload
def tool(
    *, scopes: Sequence[str] | None = None, resource: str | None = None, name: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def tool(
    fn: Callable[P, R] | None = None,
    /,
    *,
    scopes: Sequence[str] | None = None,
    resource: str | None = None,
    name: str | None = None,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Guard a plain function: each call is permitted, attributed and recorded, or refused before it runs.

    For frameworks without an adapter; bare or with arguments, on `def` and `async def`. `name` is what the
    registry knows the tool as (default: the function's own name). A call outside a session raises NoSession;
    a generator function raises ConfigurationError at once, a function that returns a coroutine once it is called.
    """
    if fn is None:
        return lambda function: _guard(function, scopes, resource, name)
    return _guard(fn, scopes, resource, name)


def _guard(
    function: Callable[P, R], scopes: Sequence[str] | None, resource: str | None, name: str | None
) -> Callable[P, R]:
    known_as = name or function.__name__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _too_late(known_as)
    signature = inspect.signature(function)

    def arguments(*args: P.args, **kwargs: P.kwargs) -> dict[str, object]:
        return dict(signature.bind(*args, **kwargs).arguments)

    if inspect.iscoroutinefunction(function):
        body = cast("Callable[P, Awaitable[object]]", function)

        async def guarded_async(*args: P.args, **kwargs: P.kwargs) -> object:
            given = arguments(*args, **kwargs)
            async with tool_call(known_as, args=given, scopes=scopes, resource=resource):
                return await body(*args, **kwargs)

        return cast("Callable[P, R]", functools.wraps(function)(guarded_async))

    @functools.wraps(function)
    def guarded_sync(*args: P.args, **kwargs: P.kwargs) -> R:
        with tool_call(known_as, args=arguments(*args, **kwargs), scopes=scopes, resource=resource):
            result = function(*args, **kwargs)
            if isinstance(result, Coroutine | Generator):
                result.close()
            elif not isinstance(result, AsyncGenerator):
                return result
            raise _too_late(known_as)

    return guarded_sync


def _too_late(known_as: str) -> ConfigurationError:
    return ConfigurationError(f'"{known_as}" returns a coroutine or generator: its body would run after the guard')


def carry(fn: Callable[P, R]) -> Callable[P, R]:
    """`fn`, to be called in a thread or loop of your own with what is current here and now.

    `pool.submit(carry(work), item)`: inside, `current_session()` and `current_access()` are those of the
    code that called `carry`. Each call gets its own copy, so one carried function may run many times at once.
    """
    context = contextvars.copy_context()
    if inspect.iscoroutinefunction(fn):
        body = cast("Callable[P, Awaitable[object]]", fn)

        async def run(*args: P.args, **kwargs: P.kwargs) -> object:
            return await body(*args, **kwargs)

        async def carried_async(*args: P.args, **kwargs: P.kwargs) -> object:
            return await asyncio.create_task(run(*args, **kwargs), context=context.copy())

        return cast("Callable[P, R]", functools.wraps(fn)(carried_async))

    @functools.wraps(fn)
    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(fn, *args, **kwargs)

    return carried
