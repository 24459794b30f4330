"""Training of transformers on many GPUs: shapes, layouts, memory and the time of a step."""
