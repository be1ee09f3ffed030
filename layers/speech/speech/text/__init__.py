"""What a text is: reading files into text, and cutting text into segments. No I/O."""
