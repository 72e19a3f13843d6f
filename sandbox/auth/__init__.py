"""A stand-in for the Supabase Auth HTTP API, on one machine and over a real Postgres.

It serves what the official Python client (`supabase-auth`) calls for passwords, sessions, TOTP factors,
invitations and user administration, below `/auth/v1`, with the shapes, error codes and rules of
https://github.com/supabase/auth. It sends no mail (see `mailbox`) and has no social login, phone or SSO.
"""
