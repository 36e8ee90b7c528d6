"""Agencies speak: the client (SDK), file adapters, the simulated borough."""
