"""Numbers of things: each kind has a type of its own, so that no number is taken for one of another kind."""

from typing import NewType

StorageId = NewType("StorageId", int)
ExtentId = NewType("ExtentId", int)
GapId = NewType("GapId", int)
"""Number of an access gap of the problem."""
ProducerId = NewType("ProducerId", int)
BlockId = NewType("BlockId", int)
"""Number of a recompute block."""
UnitId = NewType("UnitId", int)
RecomputationId = NewType("RecomputationId", int)
StripId = NewType("StripId", int)
