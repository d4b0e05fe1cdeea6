"""A differential fuzzer of whole graphs: random programs, compiled and eager, and a shrinker for those that differ."""
