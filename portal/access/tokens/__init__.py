"""API tokens: their text form, issuing, and authentication of requests."""
