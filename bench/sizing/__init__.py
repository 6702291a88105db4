"""bench-sizing: estimates of memory, replayed on traces of real workflows beside published online methods."""
