"""Whether the multipliers of a certificate prove its bound."""
