"""Builders, oracles and readable dumps that the tests share."""
