"""Compare finished runs, and benchmark recipes over seeds."""
