"""Open data as a source of samples, and hold samples in memory or in a cache that is decoded once."""
