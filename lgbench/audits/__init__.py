"""How maintainers verify a system: evaluate its weights on fresh examples, and compare runs that were trained again."""
