"""The dashboard's rows, in the order of the questions that an operator asks."""
