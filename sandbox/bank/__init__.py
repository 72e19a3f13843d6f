"""A bank with real state: accounts, bills, payments and refunds behind its own authorization server."""
