"""Foreign issuers that an operator trusts: their metadata, their keys, the tokens that they sign."""
