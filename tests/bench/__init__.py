"""`make bench`: the service against its own limit and against what one would write first, in one run, as one table.

All subjects get the same pictures from the same local server and use the same model; what counts are the ratios.
"""
