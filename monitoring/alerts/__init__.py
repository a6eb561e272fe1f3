"""Incidents: opened and resolved, their messages, the fleet's and the portal's, and maintenance."""
