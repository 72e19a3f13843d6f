"""A stand-in for the Supabase Auth HTTP API, on one machine and over a real Postgres.

It serves what the official Python client (`supabase-auth`) calls for passwords, sessions, TOTP factors,
magic links, invitations and user administration, below `/auth/v1`, with the shapes, error codes and rules of
https://github.com/supabase/auth. It sends no mail (see `mailbox`) and has no social login, phone, SSO or
PKCE. In two things it is stricter than the real one: a TOTP code is good for one use (RFC 6238 section 5.2),
and the reuse of a refresh token always ends the whole session.

`create_app` is in `app`, the API keys are in `keys`, an authenticator for demonstrations is `totp.totp`.
"""
