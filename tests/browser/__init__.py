"""The console in a real browser: Chromium, headless. Skipped where there is none."""
