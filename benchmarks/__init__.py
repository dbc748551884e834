"""Scripts that measure speed and memory, side by side in one run; nothing here is a test."""
