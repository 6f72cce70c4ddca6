"""What a model is and how it is spread: shapes, exact counts, layouts, presets. No torch."""
