"""Data of older tools: read their files within bounds, and hand the rows to the apps that import them."""
