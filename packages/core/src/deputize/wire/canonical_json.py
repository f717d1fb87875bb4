"""JSON in its one canonical spelling (RFC 8785): what is signed as a document, and not as a token's bytes."""

import json
import math
from typing import Final

from deputize.model.failure import InvalidRequest

MAX_DEPTH: Final = 32
_EXACT: Final = 2**53  # integers beyond are not every reader's (RFC 7493 §2.2)
_FIXED: Final = (-7, 21)  # exponents between which a number is written out (ECMA-262, Number::toString)


def dumps(value: object) -> bytes:
    """The canonical bytes of a JSON value. Raises InvalidRequest for what has none."""
    try:
        return _text(value, MAX_DEPTH).encode("utf-8")
    except UnicodeEncodeError:
        raise _refused("a text is not Unicode") from None


def _text(value: object, depth: int) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return _number(value)
    if depth == 0:
        raise _refused("it is nested too deeply")
    if isinstance(value, list | tuple):
        return "[" + ",".join(_text(item, depth - 1) for item in value) + "]"
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        names = sorted(value, key=_code_units)
        return "{" + ",".join(f"{_text(name, 1)}:{_text(value[name], depth - 1)}" for name in names) + "}"
    raise _refused("a value has no JSON form")


def _code_units(name: str) -> bytes:
    """Names are sorted by UTF-16 code units (§3.2.3), which is neither by characters nor by UTF-8 bytes."""
    return name.encode("utf-16-be")


def _number(value: float) -> str:
    """As ECMA-262 writes a double (§3.2.2.3)."""
    if isinstance(value, int) and abs(value) <= _EXACT:
        return str(value)
    try:
        double = float(value)
    except OverflowError:
        raise _refused("a number is too large") from None
    if not math.isfinite(double) or (isinstance(value, int) and int(double) != value):
        raise _refused("a number is none that every reader has")
    if double == 0:
        return "0"
    mantissa, _, exponent = f"{abs(double)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    return ("-" if double < 0 else "") + _placed(digits.rstrip("0"), point)


def _placed(digits: str, point: int) -> str:
    """`digits` with the decimal point after `point` of them."""
    if len(digits) <= point <= _FIXED[1]:
        return digits.ljust(point, "0")
    if 0 < point <= _FIXED[1]:
        return f"{digits[:point]}.{digits[point:]}"
    if _FIXED[0] < point - 1 < 0:
        return f"0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{tail}e{point - 1:+d}"


def _refused(reason: str) -> InvalidRequest:
    return InvalidRequest(f"no canonical JSON: {reason}", code="not_canonical")
