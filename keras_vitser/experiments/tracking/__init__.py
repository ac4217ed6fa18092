"""Runs, searches and models in MLflow (the extra `track`)."""
