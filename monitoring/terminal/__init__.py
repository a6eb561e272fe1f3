"""Text for terminals and files: lines of rounds, tables and reports."""
