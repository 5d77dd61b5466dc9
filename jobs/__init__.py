"""Where a row meets the science: thin. Workers run it; the web process only knows the names of its tasks."""
