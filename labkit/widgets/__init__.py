"""ipywidgets over experiments and exercises; they hold no logic of their own."""
