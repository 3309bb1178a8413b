"""Jobs: submission, state machine, queries, retries, quotas, and the queue."""
