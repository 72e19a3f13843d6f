"""A CRM with real state: companies, contacts, deals, notes, an inbox, behind its own authorization server."""
