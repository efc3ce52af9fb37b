"""Data quality: checks from conf, one aggregate for all of them, failing rows, trends, scores."""
