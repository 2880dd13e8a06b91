"""How answers and descriptions are scored: one file a metric, none of which needs a model or the network."""
