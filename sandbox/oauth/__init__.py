"""An OAuth 2.1 authorization server with lasting state, shared by the sandbox bank and the sandbox CRM.

Sources: RFC 6749 (framework), RFC 6750 (bearer tokens), RFC 7009 (revocation), RFC 7636 (PKCE), RFC 7662
(introspection), RFC 8414 (metadata), RFC 9207 (issuer identification), RFC 9700 (security best practice).
"""
