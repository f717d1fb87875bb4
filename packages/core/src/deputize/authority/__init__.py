"""The use cases: one exchange for every way in. Composes wire, keys, policy, store and audit."""
