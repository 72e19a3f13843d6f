"""A model provider on one machine: it speaks two wire formats, thinks by a script, and goes wrong on demand."""
