"""Checks of JSON arguments against schemas that users write, with a bound on what a check costs."""
