"""`make demo`: the portal, and a small simulated fleet that plays against it over HTTP through the client package."""
