"""The cancellation harness: every call cancelled at each of its steps."""
