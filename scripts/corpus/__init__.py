"""What the gate lets through of an agent that does whatever an attacker's words tell it."""
