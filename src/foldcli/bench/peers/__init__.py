"""What others take for the same work, in the same run, once their results are known to be the same."""
