"""Run commands and public functions, from data to artifacts."""
