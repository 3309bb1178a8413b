"""Results of simulated runs, as tables and plots."""
