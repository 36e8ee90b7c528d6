"""`python -m infra.command` is `sightline`."""

from infra.command import main

main()
