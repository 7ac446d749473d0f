"""Training data: chain sources, samples, and the loader that feeds them to the learner."""
