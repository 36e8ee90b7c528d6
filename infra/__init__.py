"""What it runs on: broker, databases, registry, ACLs, settings, the `sightline` command."""
