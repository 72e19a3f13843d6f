"""The fault campaign: everything that can go wrong goes wrong, and the books still agree (docs/chaos.md)."""
