"""People and practices look: iCART pages, JSON API, GP (FHIR) API, server-sent events."""
