"""A window on results in the browser: looks, never measures and never imports torch."""
