"""The worker as a process: shutdown, watchdog, memory, isolation, database retries."""
