"""An analyst that reads a warehouse and cannot modify it, neither by the wrong tool nor by the right one."""
