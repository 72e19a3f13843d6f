"""`python -m sandbox.bank --port 0 --state DIR --redirect-uri URL`."""

from sandbox.bank.app import create_app
from sandbox.oauth.serving import main

main("bank", create_app)
