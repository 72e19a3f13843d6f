"""A provider that is not ours: a certified OpenID server, connected to as any other."""
