"""Access: who signs in, by what, and for how long."""
