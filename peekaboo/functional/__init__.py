"""Pure tensor functions: no Lightning, no diffusers, nothing else of this project."""
