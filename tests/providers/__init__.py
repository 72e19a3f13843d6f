"""Every provider's manifest, exercised against a server made from what the provider documents (shapes/*.toml)."""
