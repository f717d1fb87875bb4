"""The groups, a module each. `build(quick=...)` prepares one."""
