"""The HTTP side: takes jobs, answers reads, serves the page. Knows the record, never the model."""
