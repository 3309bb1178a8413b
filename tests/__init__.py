"""The suite: unit · integration (real servers) · e2e (real processes, a real browser) · contract · bench."""
