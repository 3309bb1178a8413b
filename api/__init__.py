"""HTTP API: accepts jobs, serves reads and the web page. Uses the database and never loads the model."""
