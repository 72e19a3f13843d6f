"""`python -m sandbox.models --port 0 --state DIR`."""

from sandbox.models.app import create_app
from sandbox.oauth.serving import main

main("models", create_app)
