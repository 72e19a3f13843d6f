"""The dashboard: pages for people, made on the server, that call the slices' services and nothing else."""
