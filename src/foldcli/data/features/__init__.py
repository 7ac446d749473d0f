"""From a query and its alignment to the model's input features."""
