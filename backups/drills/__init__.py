"""Restore drills: restore stored dumps into a sandbox, and report what came back.

A dump is hostile input, so it is restored by a process of its own (`child`), which has no access to Django, little
memory, and a deadline. `children` starts it and reads its report. The engines `sqlite`, `postgresql` and `mysql` are
loaded by the child alone.
"""
