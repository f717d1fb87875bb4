"""All that operators may ask of a server (`docs/operators.md`)."""

from typing import Final

from deputize.server import log_reading, overseeing, ruling

ERRANDS: Final = (*overseeing.ERRANDS, *log_reading.ERRANDS, *ruling.ERRANDS)
