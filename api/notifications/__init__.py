"""What is told beyond the dashboard: channels, and the outbox that is delivered to them."""
