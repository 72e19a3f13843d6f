"""Whether every value that an action works with is positively found in a source that counts (docs/grounding.md)."""
