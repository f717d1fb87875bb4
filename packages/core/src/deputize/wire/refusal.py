"""Why a token is refused, as stable codes. Messages say which check failed, never what the token said."""

from typing import Final

from deputize.model.failure import InvalidToken

MALFORMED: Final = "malformed_token"
TOO_LARGE: Final = "token_too_large"
UNSUPPORTED_ALGORITHM: Final = "unsupported_algorithm"
UNSUPPORTED_KEY: Final = "unsupported_key"
UNKNOWN_KEY: Final = "unknown_key"
INVALID_SIGNATURE: Final = "invalid_signature"
WRONG_TYPE: Final = "wrong_type"
WRONG_ISSUER: Final = "wrong_issuer"
WRONG_AUDIENCE: Final = "wrong_audience"
EXPIRED: Final = "token_expired"
NOT_YET_VALID: Final = "not_yet_valid"
KEY_RETIRED: Final = "key_retired"
UNKNOWN_CONFIRMATION: Final = "unknown_confirmation"
INVALID_PROOF: Final = "invalid_dpop_proof"
USE_NONCE: Final = "use_dpop_nonce"


def malformed(reason: str) -> InvalidToken:
    """The refusal of a form that no token of the asked kind has."""
    return InvalidToken(reason, code=MALFORMED)


def unsupported_key(reason: str) -> InvalidToken:
    """The refusal of a key that we would not verify with."""
    return InvalidToken(reason, code=UNSUPPORTED_KEY)
