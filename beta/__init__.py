"""The beta programme: what participants say, and whether the product is ready."""
