"""The ground that the sandbox bank and the sandbox CRM share.

An OAuth 2.1 authorization server with lasting state, the database under it, the guard of the APIs,
idempotency keys, and the program that serves them.

Sources: RFC 6749 (framework), RFC 6750 (bearer tokens), RFC 7009 (revocation), RFC 7636 (PKCE), RFC 7662
(introspection), RFC 8414 (metadata), RFC 9207 (issuer identification), RFC 9700 (security best practice).
"""
