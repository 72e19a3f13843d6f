"""`python -m sandbox.crm --port 0 --state DIR --redirect-uri URL`."""

from sandbox.crm.app import create_app
from sandbox.oauth.serving import main

main("crm", create_app)
