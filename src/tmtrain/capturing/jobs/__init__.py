"""What is captured: a model, its optimizer and its step, from the zoo or from the user. Knows nothing of the recorder."""
