"""From a scene and a window to pixels, a store and files."""
