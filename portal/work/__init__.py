"""Background work: the task queue, leases of periodic jobs, the pulse, schedules and retention."""
