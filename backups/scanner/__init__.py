"""The scanner: read deposits, examine the cycles of expected backups, record verdicts, and store verified dumps.

`orchestration` queues machines, `scan` handles one, and `disk` is the only room that opens files.
"""
