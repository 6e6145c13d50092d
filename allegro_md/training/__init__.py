"""Training of models from labeled configurations: data, statistics, loss, the loop, its progress and its report."""
